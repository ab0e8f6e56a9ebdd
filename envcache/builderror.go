package envcache

import (
	"fmt"
	"regexp"
	"strings"
)

// BuildError is the failure of a program that builds an environment.
type BuildError struct {
	Step  string   // as "pip"
	Cause string   // the likely cause, for a person; "" if it is not known
	Lines []string // the program's last lines, without secrets
	Exit  Exit
	Err   error // why it could not be run to its end, or nil
}

// Error gives the cause and the last lines.
func (e *BuildError) Error() string {
	var b strings.Builder
	b.WriteString("cannot build the environment: " + e.Step)
	switch {
	case e.Err != nil:
		fmt.Fprintf(&b, " was not finished: %v", e.Err)
	case e.Exit.Signal != "":
		fmt.Fprintf(&b, " was ended by a signal: %s", e.Exit.Signal)
	default:
		fmt.Fprintf(&b, " failed with exit status %d", e.Exit.Code)
	}
	if e.Cause != "" {
		b.WriteString(": " + e.Cause)
	}
	for _, l := range e.Lines {
		b.WriteString("\n    " + l)
	}
	return b.String()
}

// Unwrap gives the error of the run.
func (e *BuildError) Unwrap() error { return e.Err }

const (
	causeRefused     = "the index or repository refuses the credentials, or has got none"
	causeUnreachable = "the package index can't be reached"
)

// causes are what pip says when something well known went wrong; the first that
// is found names the cause. Order matters: what fails on the network ends in
// "no matching distribution", too.
var causes = []struct {
	says  *regexp.Regexp
	cause string
}{
	{regexp.MustCompile(`(?i)no space left on device|disk quota exceeded`), "the disk is full"},
	{regexp.MustCompile(`DO NOT MATCH THE HASHES`), "a package is not the one whose hash was asked for"},
	{regexp.MustCompile(`(?i)hashes are required in --require-hashes mode`), "some packages are given with hashes and some without"},
	{regexp.MustCompile(`(?i)name resolution|name or service not known|connection refused|network is unreachable|connection (timed out|aborted|reset)|read timed out|max retries exceeded|SSLError`), causeUnreachable},
	{regexp.MustCompile(`(?i)\b(401|403)\b.*(error|unauthorized|forbidden)|User for |authentication failed|could not read (Username|Password)`), causeRefused},
	{regexp.MustCompile(`ResolutionImpossible|conflicting dependencies`), "the requirements contradict each other"},
	{regexp.MustCompile(`(?i)requires a different python|Requires-Python`), "a package has no release for Python %s"},
	{regexp.MustCompile(`(?i)no matching distribution found|could not find a version`), "a package, or that version of it, is not in the index for Python %s on this platform"},
	{regexp.MustCompile(`(?i)Invalid requirement|Invalid marker|no such option`), "a line of the requirements is not valid"},
	{regexp.MustCompile(`(?i)failed (to build|building)|subprocess-exited-with-error|metadata-generation-failed`), "a package could not be built from its source"},
	{regexp.MustCompile(`No module named '?venv`), "this Python lacks its module venv (on Debian: apt-get install python3-venv)"},
}

func newBuildError(step string, exit Exit, err error, lines []string, python string) *BuildError {
	e := &BuildError{Step: step, Lines: lines, Exit: exit, Err: err}
	text := strings.Join(lines, "\n")
	for _, c := range causes {
		if c.says.MatchString(text) {
			e.Cause = strings.ReplaceAll(c.cause, "%s", python)
			break
		}
	}
	return e
}
