package worker

import (
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"agentctl/internal/fsx"

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
	variables    []string // of the environment and the sandbox, as KEY=VALUE; of one name the first counts
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
func (e taskEnv) build(lookup func(string) (string, bool)) []string {
	bin, more := e.split()
	env := []string{
		"PATH=" + strings.Join(append(bin, "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"), ":"),
		"HOME=" + e.home,
		"TMPDIR=" + e.tmp,
		"USER=" + e.user,
		"LOGNAME=" + e.user,
		"SHELL=/bin/sh",
		"LANG=C.UTF-8",
		"PYTHONUNBUFFERED=1",
		"CUDA_DEVICE_ORDER=PCI_BUS_ID",
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
		"LOG_LEVEL":           "INFO",
		"LOG_TASK_TO_BACKEND": "0", // the console is the agent's to send
	} {
		env = append(env, "CLEARML_"+k+"="+v, "TRAINS_"+k+"="+v)
	}
	if e.venv != "" {
		env = append(env, "VIRTUAL_ENV="+e.venv)
	}
	if len(e.pythonPath) > 0 {
		env = append(env, "PYTHONPATH="+strings.Join(e.pythonPath, ":"))
	}
	for _, name := range passed {
		if e.noCertificates && (name == "SSL_CERT_DIR" || slices.Contains(certificateFiles, name)) {
			continue
		}
		if v, ok := lookup(name); ok && !hasPassword(v) {
			env = append(env, name+"="+v)
		}
	}
	if e.netrc != "" {
		env = append(env, "NETRC="+e.netrc)
	}
	return append(env, lo.Filter(more, func(kv string, _ int) bool { return !fixed(env, kv) })...)
}

// split takes PATH out of the environment's variables: its folders come after those
// of the environment's own programs.
func (e taskEnv) split() (bin, more []string) {
	bin = slices.Clone(e.bin)
	for _, kv := range e.variables {
		if path, ok := strings.CutPrefix(kv, "PATH="); ok {
			bin = append(bin, lo.Compact(strings.Split(path, ":"))...)
			continue
		}
		more = append(more, kv)
	}
	return bin, e.linked(lo.UniqBy(more, func(kv string) string { name, _, _ := strings.Cut(kv, "="); return name }))
}

// linked has programs find the GPU driver's libraries, after those of their own.
func (e taskEnv) linked(more []string) []string {
	const name = "LD_LIBRARY_PATH="
	if e.libraries == "" {
		return more
	}
	_, i, found := lo.FindIndexOf(more, func(kv string) bool { return strings.HasPrefix(kv, name) })
	if !found {
		return append(more, name+e.libraries)
	}
	folders := strings.Split(strings.TrimPrefix(more[i], name), ":")
	more[i] = name + strings.Join(lo.Uniq(lo.Compact(append(folders, e.libraries))), ":")
	return more
}

// fixed tells whether a variable is one that packages have no say in: those set
// already, and all by which the SDK finds its server and its login.
func fixed(env []string, kv string) bool {
	name, _, _ := strings.Cut(kv, "=")
	return strings.HasPrefix(name, "CLEARML_") || strings.HasPrefix(name, "TRAINS_") || name == "NETRC" ||
		slices.ContainsFunc(env, func(have string) bool { return strings.HasPrefix(have, name+"=") })
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
