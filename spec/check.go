package spec

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"time"
	"unicode"
)

const (
	nodeFix    = "write lower-case letters, digits, - and ., as gpu-07, with a letter or digit at both ends"
	nameFix    = "write lower-case letters, digits and -, as train-2, with a letter or digit at both ends"
	labelFix   = "write up to 63 letters, digits, -, _ and ., with a letter or digit at both ends"
	pathFix    = "write the whole path, as /etc/agentctl/file"
	deviceFix  = "write the index of a GPU, as 0, or a UUID, as GPU-… or MIG-…"
	hostFix    = "write the name of a host in lower case, as pypi.example.com, or its address, without a port"
	packageFix = "write the name of a package alone, as numpy; its version belongs to the requirements"
	groupFix   = "write a name, as train, or \"*\" for all"
	imageFix   = "write an image reference, as docker.io/library/python:3.12-slim, oci:/srv/images/python or docker-archive:/srv/python.tar, or host"
)

var (
	nameForm        = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
	nodeForm        = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	labelForm       = regexp.MustCompile(`^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$`)
	labelKeyForm    = regexp.MustCompile(`^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$`)
	userForm        = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9._-]{0,31}|0|[1-9][0-9]{0,9})$`)
	pythonForm      = regexp.MustCompile(`^3\.(0|[1-9][0-9]?)(\.(0|[1-9][0-9]?))?$`)
	interpreterForm = regexp.MustCompile(`^(python|pypy)(3(\.[0-9]{1,2}){0,2})?$`)
	versionForm     = regexp.MustCompile(`^[0-9]+(\.[0-9]+){0,4}([a-z0-9.+-]{0,20})$`)
	hostForm        = regexp.MustCompile(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*$`)
	packageForm     = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$`)
	groupForm       = regexp.MustCompile(`^(\*|[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?)$`)
	channelForm     = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*)(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$`)
	torchForm       = regexp.MustCompile(`^(off|auto|cpu|cu[1-9][0-9]{1,3})$`)
	sshUserForm     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$`)
	urlLogin        = regexp.MustCompile(`://[^/?#\s]*@`)
	condaToken      = regexp.MustCompile(`(^|/)t/[^/]+(/|$)`)
	imageForm       = regexp.MustCompile(`^(host|(oci|oci-archive|docker-archive):/[^\s]+|[a-z0-9]([A-Za-z0-9._/-]|:[A-Za-z0-9_]|@sha256:)*)$`)
)

func nameLength(longest int) func(any) string {
	return func(v any) string {
		if s := v.(string); len(s) > longest {
			return fmt.Sprintf("is longer than %d characters; write a shorter name", longest)
		}
		return ""
	}
}

// printable refuses what would break a line of a log, a table or a header.
func printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return quote(s) + " has characters that can't be printed"
	}
	return ""
}

func queueName(v any) string {
	s := v.(string)
	switch {
	case len(s) > 256:
		return "is longer than 256 bytes"
	case strings.TrimSpace(s) != s:
		return quote(s) + " begins or ends with a space"
	}
	return printable(s)
}

// workerID is part of tables, of headers and of lists that are parted by spaces.
func workerID(v any) string {
	s := v.(string)
	switch {
	case len(s) > 128:
		return "is longer than 128 bytes"
	case strings.ContainsRune(s, ' '):
		return quote(s) + " has a space"
	}
	return printable(s)
}

func filePath(v any) string {
	s := v.(string)
	if strings.HasSuffix(s, "/") {
		return quote(s) + " is a folder, not a file"
	}
	return folderPath(v)
}

func folderPath(v any) string {
	s := v.(string)
	switch {
	case strings.HasPrefix(s, "~"), strings.Contains(s, "$"):
		return quote(s) + " would need a shell"
	case !strings.HasPrefix(s, "/"):
		return quote(s) + " is not an absolute path"
	case len(s) > 4096:
		return "is longer than 4096 bytes"
	case strings.Contains(s+"/", "/../"):
		return quote(s) + " climbs up with .."
	}
	return printable(s)
}

// interpreter is the path of a Python, or its name.
func interpreter(v any) string {
	if s := v.(string); !strings.HasPrefix(s, "/") && !interpreterForm.MatchString(s) {
		return quote(s) + " is neither"
	} else if strings.HasPrefix(s, "/") {
		return filePath(v)
	}
	return ""
}

func atLeast(shortest, longest time.Duration) func(any) string {
	return func(v any) string {
		d := time.Duration(v.(Duration))
		if d < shortest || d > longest {
			return v.(Duration).String() + " is out of range"
		}
		return ""
	}
}

func aboveZero(v any) string {
	if v.(Size) <= 0 {
		return "is 0"
	}
	return ""
}

// programPath is the path of a program to run, as it is, without a shell.
func programPath(v any) string {
	if fault := argument(v); fault != "" {
		return fault
	}
	return filePath(v)
}

// argument never repeats what it refuses: it may be a secret.
func argument(v any) string {
	s := v.(string)
	switch {
	case len(s) > 4096:
		return "is longer than 4096 bytes"
	case printable(s) != "":
		return "has characters that can't be printed"
	case urlLogin.MatchString(s):
		return "has a URL with a user or a password in it; take them out, the program has to know them by itself"
	}
	return ""
}

// hostName wants the one spelling of a host, so that comparing texts is enough.
func hostName(v any) string {
	s := v.(string)
	if addr, err := netip.ParseAddr(s); err == nil && addr.String() == s && addr.Zone() == "" {
		return ""
	}
	if len(s) > 253 || !hostForm.MatchString(s) {
		return "is not the name of a host"
	}
	return ""
}

// channel never repeats a URL, nor what may be a piece of one.
func channel(v any) string {
	s := v.(string)
	if strings.Contains(s, "://") {
		if fault := indexURL(v); fault != "" {
			return fault
		}
		if u, _ := url.Parse(s); condaToken.MatchString(u.Path) {
			return "has a token (/t/…) in it; take it out and leave it to indexCredentialsFile, indexCredentialsCommand or conda's own authentication file"
		}
		return ""
	}
	if len(s) > 256 || !channelForm.MatchString(s) {
		return "is not the name of a channel"
	}
	return ""
}

// splitFix parts a fault from the fix that belongs to it.
const splitFix = "; "

// serverURL never repeats the URL: a password may be in it.
func serverURL(v any) string {
	if fault := webURL(v.(string)); fault != "" {
		return fault
	}
	u, _ := url.Parse(v.(string))
	switch {
	case u.Scheme == "file":
		return "is not an http or https URL; write it as https://api.example.com"
	case u.User != nil:
		return "has a user or a password in it; take them out and name a file with the keys in credentialsFile"
	}
	return ""
}

// indexURL never repeats the URL: a password may be in it.
func indexURL(v any) string {
	if fault := webURL(v.(string)); fault != "" {
		return fault
	}
	if u, _ := url.Parse(v.(string)); u.User != nil {
		return "has a user or a password in it; take them out and name a netrc file in indexCredentialsFile"
	}
	return ""
}

// mirrorURL never repeats the URL: a password may be in it.
func mirrorURL(v any) string {
	if fault := webURL(v.(string)); fault != "" {
		return fault
	}
	if u, _ := url.Parse(v.(string)); u.User != nil {
		return "has a user or a password in it; take them out"
	}
	return ""
}

// webURL is what is wrong with an http, https or file URL.
func webURL(s string) string {
	const example = "; write it as https://host.example.com/path"
	u, err := url.Parse(s)
	switch {
	case err != nil || len(s) > 2048 || strings.ContainsAny(s, " \\") || printable(s) != "":
		return "is not a URL" + example
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "file":
		return "is not an http or https URL" + example
	case u.Scheme == "file" && (u.Host != "" || !strings.HasPrefix(u.Path, "/")):
		return "is a file URL without an absolute path; write it as file:///srv/simple"
	case u.Scheme != "file" && u.Hostname() == "":
		return "has no host" + example
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "has a ? or # in it; take out what is behind it"
	}
	return ""
}
