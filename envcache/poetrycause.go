package envcache

import (
	"fmt"
	"regexp"
	"strings"
)

// poetryCauses are what poetry says when something well known went wrong. A cause
// may speak of the part that its pattern captures, and of the interpreter.
var poetryCauses = []struct {
	says  *regexp.Regexp
	cause func(m []string, py Interpreter) string
}{
	{regexp.MustCompile(`Current Python version \([^)]*\) is not allowed by the project \((.*)\)`), func(m []string, py Interpreter) string {
		return fmt.Sprintf("the project needs Python %s, and the environment is made with %s", m[1], py)
	}},
	{regexp.MustCompile(`pyproject\.toml changed significantly since poetry\.lock was last generated`), same("poetry.lock does not fit pyproject.toml: run `poetry lock` and commit the result")},
	{regexp.MustCompile(`(?i)lock file is not compatible|requires Poetry (\S+), but you are using`), same("the project needs another version of poetry: set packageManager.versions.poetry")},
	{regexp.MustCompile(`(?i)Authorization error accessing|\b(401|403) (Client Error|Unauthorized|Forbidden)`), same(causeRefused)},
	{regexp.MustCompile(`did not match any known checksums|not found in\s+known hashes|is not listed in\s+the lock file`), same("a package is not the one whose hash is in poetry.lock")},
	{regexp.MustCompile(`All attempts to connect to (\S+) failed`), func(m []string, _ Interpreter) string { return causeUnreachable + ": no answer from " + m[1] }},
	{regexp.MustCompile(`Unable to find installation candidates for (\S+) \(([^)]+)\)`), func(m []string, py Interpreter) string {
		return fmt.Sprintf("%s %s is not in the index for Python %s on this platform", m[1], m[2], py.Version)
	}},
	{regexp.MustCompile(`version solving failed|doesn't match any versions`), same("the project's dependencies contradict each other, or are not in its indexes")},
	{regexp.MustCompile(`PEP517 build of a dependency failed|Cannot (install|resolve) build-system\.requires`), same("a package could not be built from its source")},
	{regexp.MustCompile(`The current project could not be|Invalid TOML|TOMLError|pyproject\.toml.*is invalid|The Poetry configuration is invalid`), same("pyproject.toml is not valid for poetry")},
}

func same(cause string) func([]string, Interpreter) string {
	return func([]string, Interpreter) string { return cause }
}

// poetryCause is the likely cause of poetry's failure; "" if it is not known.
func poetryCause(failed *BuildError, py Interpreter) string {
	text := strings.Join(failed.Lines, "\n")
	for _, c := range poetryCauses {
		if m := c.says.FindStringSubmatch(text); m != nil {
			return c.cause(m, py)
		}
	}
	return ""
}
