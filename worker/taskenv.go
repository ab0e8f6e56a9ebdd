package worker

import (
	"cmp"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"agentctl/internal/fsx"
	"agentctl/spec"

	"github.com/samber/lo"
)

// Endpoints are the addresses of a ClearML server as its clients need them.
type Endpoints struct {
	API   string `json:"api"`
	Web   string `json:"web"`
	Files string `json:"files"`
}

// tokenVar is the variable by which the SDK logs in without keys.
const tokenVar = "CLEARML_AUTH_TOKEN"

// taskEnv collects the variables of one task.
type taskEnv struct {
	task, worker string
	endpoints    Endpoints
	token        string // a login for this task, never the operator's keys
	config       string // the SDK's configuration file
	venv         string
	bin          []string // folders before the usual PATH
	pythonPath   []string
	logLevel     string
	variables    []string // of the environment's packages, as KEY=VALUE; of one name the first counts, in all three
	chosen       []string // of the task itself and the operator
	image        []string // of the sandbox's image
	netrc        string   // file with credentials that the task was given
	home, tmp    string
	// noCertificates leaves out the variables that name certificates of the host.
	noCertificates bool
	user           string
	gpus           []string // variables that say which GPUs are the task's
	libraries      string   // folder of the GPU driver's libraries
}

// passed are the agent's own variables that a task gets: how this site reaches
// the network, nothing else. A proxy that carries a password is left out, since
// it would hand the operator's credential to the task.
var passed = []string{
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
	"http_proxy", "https_proxy", "no_proxy", "all_proxy",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
	"PIP_CERT", "TZ",
}

// build returns the task's whole environment: what the clearml SDK expects
// under an agent (CLEARML_TASK_ID means "running remotely"), what a Python
// program expects of a login, and what of the agent's own is passed on.
//
// What the agent fixes counts over all; then what packages say, the task and the
// operator, this host, and at last the image.
func (e taskEnv) build(lookup func(string) (string, bool)) []string {
	env := e.fixed()
	set := map[string]bool{}
	for _, kv := range env {
		set[nameOf(kv)] = true
	}
	add := func(list []string, may func(name string) bool) {
		for _, kv := range list {
			if name := nameOf(kv); !set[name] && may(name) {
				set[name] = true
				env = append(env, kv)
			}
		}
	}
	add(e.variables, foreign)
	add(e.chosen, func(name string) bool { return !spec.AgentVariable(name) })
	add(e.host(lookup), func(string) bool { return true })
	add(e.image, foreign)
	return e.linked(env)
}

// fixed are the variables in which nobody has a say.
func (e taskEnv) fixed() []string {
	path := slices.Concat(e.bin, e.folders("PATH"), []string{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"})
	env := []string{
		"PATH=" + strings.Join(path, ":"),
		"HOME=" + e.home,
		"TMPDIR=" + e.tmp,
		"USER=" + e.user,
		"LOGNAME=" + e.user,
		"CLEARML_API_HOST=" + e.endpoints.API,
		"CLEARML_WEB_HOST=" + e.endpoints.Web,
		"CLEARML_FILES_HOST=" + e.endpoints.Files,
		tokenVar + "=" + e.token,
		// Without its own file the SDK would read one from the host.
		"CLEARML_CONFIG_FILE=" + e.config,
		"TRAINS_CONFIG_FILE=" + e.config,
	}
	env = append(env, e.gpus...)
	for k, v := range map[string]string{
		"TASK_ID":             e.task,
		"WORKER_ID":           e.worker,
		"LOG_LEVEL":           cmp.Or(e.logLevel, "INFO"),
		"LOG_TASK_TO_BACKEND": "0", // the console is the agent's to send
	} {
		env = append(env, "CLEARML_"+k+"="+v, "TRAINS_"+k+"="+v)
	}
	if e.venv != "" {
		env = append(env, "VIRTUAL_ENV="+e.venv)
	}
	if python := slices.Concat(e.pythonPath, e.folders("PYTHONPATH")); len(python) > 0 {
		env = append(env, "PYTHONPATH="+strings.Join(python, ":"))
	}
	if e.netrc != "" {
		env = append(env, "NETRC="+e.netrc)
	}
	return env
}

// folders are those that others give in a variable of folders: they come after the
// task's own.
func (e taskEnv) folders(name string) (dirs []string) {
	for _, kv := range slices.Concat(e.variables, e.chosen, e.image) {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			dirs = append(dirs, lo.Compact(strings.Split(value, ":"))...)
		}
	}
	return dirs
}

// host are variables as this host has them, which others may have otherwise.
func (e taskEnv) host(lookup func(string) (string, bool)) []string {
	env := []string{"SHELL=/bin/sh", "LANG=C.UTF-8", "PYTHONUNBUFFERED=1", "CUDA_DEVICE_ORDER=PCI_BUS_ID"}
	for _, name := range passed {
		if e.noCertificates && (name == "SSL_CERT_DIR" || slices.Contains(certificateFiles, name)) {
			continue
		}
		if v, ok := lookup(name); ok && !hasPassword(v) {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// linked has programs find the GPU driver's libraries, after those of their own.
func (e taskEnv) linked(env []string) []string {
	const name = "LD_LIBRARY_PATH="
	if e.libraries == "" {
		return env
	}
	_, i, found := lo.FindIndexOf(env, func(kv string) bool { return strings.HasPrefix(kv, name) })
	if !found {
		return append(env, name+e.libraries)
	}
	folders := strings.Split(strings.TrimPrefix(env[i], name), ":")
	env[i] = name + strings.Join(lo.Uniq(lo.Compact(append(folders, e.libraries))), ":")
	return env
}

func nameOf(kv string) string {
	name, _, _ := strings.Cut(kv, "=")
	return name
}

// foreign tells of a variable that is none by which the SDK finds its server and its
// login: packages and images have no say in those.
func foreign(name string) bool {
	return !strings.HasPrefix(name, "CLEARML_") && !strings.HasPrefix(name, "TRAINS_") && name != "NETRC"
}

func hasPassword(v string) bool {
	u, err := url.Parse(v)
	return err != nil && strings.Contains(v, "@") || err == nil && u.User != nil
}

// sdkConfig is the smallest configuration file of the clearml SDK: it names no
// server and no key, since both come by variables. The SDK's reporting process
// is off: closing it keeps a finished task waiting for 12 s (measured with
// clearml 2.1.12), against 0.05 s with the reporting thread.
const sdkConfig = `# Written by agentctl for this task.
api {
}
sdk {
  development {
    report_use_subprocess: false
  }
}
`

func writeSDKConfig(home string, owner identity) (string, error) {
	path := filepath.Join(home, "clearml.conf")
	if err := fsx.ReplaceFile(path, []byte(sdkConfig), 0o600); err != nil {
		return "", err
	}
	return path, owner.chown(path)
}
