package spec

import (
	"cmp"
	"errors"
	"net/netip"
	"path"
	"regexp"
	"regexp/syntax"
	"strings"
)

const (
	variableFix = "write the name of a variable: letters, digits and _"
	maxID       = 1<<32 - 2 // the last stands for none
)

var (
	variableForm   = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	ulimitForm     = regexp.MustCompile(`^(unlimited|0|[1-9][0-9]{0,17})(:(unlimited|0|[1-9][0-9]{0,17}))?$`)
	deviceNodeForm = regexp.MustCompile(`^/dev(/[A-Za-z0-9_][A-Za-z0-9._-]*)+$`)
	deviceArgForm  = regexp.MustCompile(`^/dev(/[A-Za-z0-9_][A-Za-z0-9._-]*)+(:/dev(/[A-Za-z0-9_][A-Za-z0-9._-]*)+)?(:(r|w|rw))?$`)
	insideForm     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,31})?$`)
	registryForm   = regexp.MustCompile(`^([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])(:[1-9][0-9]{0,4})?$`)
	imagesForm     = regexp.MustCompile(`^(\*|host|[a-z0-9]([A-Za-z0-9._/-]|:[A-Za-z0-9_]|@sha256:)*([/:]\*)?)$`)
	resolverForm   = regexp.MustCompile(`^[a-z0-9-]+(:[0-9]{1,5})?$`)
	aptForm        = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
	aptAnyForm     = regexp.MustCompile(`^(\*|[a-z0-9][a-z0-9+.-]+)$`)
	// ownVariable are what the agent itself sets for each task, or takes for its own settings.
	ownVariable = regexp.MustCompile(`^(AGENTCTL_.*|(CLEARML|TRAINS)_(API_.*|WEB_HOST|FILES_HOST|AUTH_TOKEN|CONFIG_FILE|TASK_ID|WORKER_ID|LOG_LEVEL|LOG_TASK_TO_BACKEND)|HOME|TMPDIR|USER|LOGNAME|VIRTUAL_ENV|NETRC)$`)
	// agentVariable are names of the agent's own settings, its keys among them.
	agentVariable = regexp.MustCompile(`^(CLEARML|TRAINS|AGENTCTL)_`)
)

// hostPlaces are ways to the kernel and to what rules the host: nobody mounts them.
var hostPlaces = []string{"/proc", "/sys", "/dev", "/run", "/var/run", "/boot"}

// ulimitOrder refuses a soft limit above the hard one. Of two numbers without
// leading zeros the longer is the larger.
func ulimitOrder(v any) string {
	soft, hard, two := strings.Cut(v.(string), ":")
	above := cmp.Or(cmp.Compare(len(soft), len(hard)), strings.Compare(soft, hard)) > 0
	if two && hard != "unlimited" && (soft == "unlimited" || above) {
		return "has a soft limit above the hard one"
	}
	return ""
}

func hostVariable(v any) string {
	if fault := nameLength(255)(v); fault != "" {
		return fault
	}
	if agentVariable.MatchString(v.(string)) {
		return quote(v.(string)) + " is the agent's own, and may be a key of its operator; delete it"
	}
	return ""
}

// taskVariable refuses what the agent would not take from an operator.
func taskVariable(v any) string {
	if fault := nameLength(255)(v); fault != "" {
		return fault
	}
	if s := v.(string); AgentVariable(s) {
		return quote(s) + " is set by the agent for each task; delete it"
	}
	return ""
}

// AgentVariable tells whether the agent itself sets the variable for each task: by it
// a task finds its server, its login and its own id. Nobody else has a say in it.
func AgentVariable(name string) bool { return ownVariable.MatchString(name) }

const (
	maxScript  = 64 << 10 // bytes of a setup script
	maxPattern = 1000     // bytes of a regular expression
	patternFix = "write a regular expression of RE2, which has no lookaround and no backreferences"
)

func shellScript(v any) string {
	switch s := v.(string); {
	case len(s) > maxScript:
		return "is longer than " + Size(maxScript).String()
	case strings.ContainsRune(s, 0):
		return "has a zero byte"
	}
	return ""
}

// pattern wants a regular expression.
func pattern(v any) string {
	s := v.(string)
	if len(s) > maxPattern {
		return "is longer than 1000 bytes"
	}
	if _, err := regexp.Compile(s); err != nil {
		var at *syntax.Error
		if errors.As(err, &at) {
			return "is no regular expression: " + at.Code.String() + " at " + quote(at.Expr)
		}
		return "is no regular expression"
	}
	return ""
}

// variableValue never repeats what it refuses: it may be a secret.
func variableValue(v any) string {
	s := v.(string)
	switch {
	case len(s) > 4096:
		return "is longer than 4096 bytes"
	case strings.ContainsRune(s, 0):
		return "has a zero byte"
	case urlLogin.MatchString(s):
		return "has a URL with a user or a password in it; put it into the environment of the agent and its name into hostEnv"
	}
	return ""
}

// hostFolder is a place of the host that may be in a sandbox.
func hostFolder(v any) string {
	if fault := folderPath(v); fault != "" {
		return fault
	}
	clean := path.Clean(v.(string))
	if clean == "/" {
		return "is the whole host; write the folders that are needed"
	}
	for _, place := range hostPlaces {
		if clean == place || strings.HasPrefix(clean, place+"/") || strings.HasPrefix(place, clean+"/") {
			return "has " + place + " of the host in it, or is in it, by which a task could reach the host; write another folder"
		}
	}
	return ""
}

// mountTarget is a place of a sandbox where something may be mounted.
func mountTarget(v any) string {
	if fault := folderPath(v); fault != "" {
		return fault
	}
	clean := path.Clean(v.(string))
	for _, place := range []string{"/proc", "/sys", "/dev"} {
		if clean == "/" || clean == place || strings.HasPrefix(clean, place+"/") {
			return quote(v.(string)) + " is a place that makes a sandbox one; write another folder"
		}
	}
	return ""
}

func address(v any) string {
	addr, err := netip.ParseAddr(v.(string))
	if err != nil || addr.Zone() != "" {
		return quote(v.(string)) + " is not an address"
	}
	return ""
}

func sizeText(v any) string {
	n, err := ParseSize(v.(string))
	switch {
	case err != nil:
		return quote(v.(string)) + " " + err.Error()
	case n == 0:
		return "is 0"
	}
	return ""
}
