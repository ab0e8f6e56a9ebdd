package envcache

import (
	"os"
	"strings"
)

// owner gives the ids that files of an environment get. A process that is not
// root can own files as itself only.
func owner(uid, gid int) (int, int) {
	if os.Geteuid() != 0 || uid < 0 {
		return os.Geteuid(), os.Getegid()
	}
	return uid, max(gid, 0)
}

// switches tells whether files must be given to, and programs run as, another user.
func switches(uid int) bool { return os.Geteuid() == 0 && uid > 0 }

// passed are the only variables of the agent that reach a package manager:
// where programs are, and how the network is reached and trusted. All else,
// above all credentials and PIP_* or PYTHON* settings, stays out, so that a
// build depends on the request alone.
var passed = []string{
	"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ",
	"http_proxy", "https_proxy", "no_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "GIT_SSL_CAPATH",
	"PIP_CERT", "PIP_CLIENT_CERT", "PIP_PROXY", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT", "PIP_RETRIES",
}

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// CleanEnv is the environment that builders and git get: the few variables of the
// agent that say where programs are and how the network is reached, and more.
func CleanEnv(getenv func(string) string, more ...string) []string {
	var env []string
	for _, name := range passed {
		if v := getenv(name); v != "" && !strings.ContainsRune(v, 0) {
			env = append(env, name+"="+v)
		}
	}
	if getenv("PATH") == "" {
		env = append(env, "PATH="+defaultPath)
	}
	if getenv("LANG") == "" && getenv("LC_ALL") == "" {
		env = append(env, "LANG=C.UTF-8")
	}
	return append(env, more...)
}
