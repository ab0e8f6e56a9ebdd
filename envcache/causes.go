package envcache

import (
	"regexp"
	"strings"

	"github.com/samber/lo"
)

const (
	causeRefused     = "the index or repository refuses the credentials, or has got none"
	causeUnreachable = "the package index can't be reached"
)

// cause is what managers say when something well known went wrong. In its text,
// %s is the version of Python, and %p the package, if it is named.
type cause struct {
	says *regexp.Regexp
	text string
}

// causes: the first one that is found counts. Order matters: what fails on the
// network ends in "no matching distribution", too.
var causes = []cause{
	{regexp.MustCompile(`(?i)no space left on device|disk quota exceeded`), "the disk is full"},
	{regexp.MustCompile(`DO NOT MATCH THE HASHES`), "%p is not the one whose hash was asked for"},
	{regexp.MustCompile(`(?i)hashes are required in --require-hashes mode`), "some packages are given with hashes and some without"},
	{regexp.MustCompile(`(?i)can't verify hashes for`), "some packages are given with hashes, and others come from a repository or a folder, which have none"},
	{regexp.MustCompile(`(?i)CERTIFICATE_VERIFY_FAILED|certificate verify failed`), "the certificate of the package index is not trusted here: name the authority's in pip's setting cert, or the host in trusted-host"},
	{regexp.MustCompile(`(?i)name resolution|name or service not known|connection refused|network is unreachable|connection (timed out|aborted|reset)|read timed out|max retries exceeded|SSLError`), causeUnreachable},
	{regexp.MustCompile(`(?i)\b(401|403)\b.*(error|unauthorized|forbidden)|HTTP error (401|403)|User for |authentication failed|could not read (Username|Password)`), causeRefused},
	{regexp.MustCompile(`ResolutionImpossible|conflicting dependencies`), "the requirements contradict each other"},
	{regexp.MustCompile(`(?i)requires a different python|Requires-Python`), "%p has no release for Python %s"},
	{regexp.MustCompile(`(?i)no matching distribution found|could not find a version`), "%p, or that version of it, is not in the index for Python %s on this platform"},
	{regexp.MustCompile(`(?i)Invalid requirement|Invalid marker|no such option`), "a line of the requirements is not valid"},
	{regexp.MustCompile(`(?i)did not run successfully.*git|fatal: (couldn't find remote ref|reference is not a tree|unable to read tree)|pathspec '.*' did not match`), "a repository has no such branch, tag or commit"},
	{regexp.MustCompile(`(?i)(command '?(\S*-)?(gcc|cc|g\+\+|c\+\+|clang)'? failed: No such file|unable to execute '?(\S*-)?(gcc|cc|g\+\+|clang)|CMAKE_C(XX)?_COMPILER not set|Unknown compiler\(s\))`), "%p could not be built from its source: the host has no C compiler (on Debian: apt-get install build-essential)"},
	{regexp.MustCompile(`Python\.h: No such file`), "%p could not be built from its source: the host lacks Python's headers (on Debian: apt-get install python3-dev)"},
	{regexp.MustCompile(`(?i)can't find Rust compiler|Cargo, the Rust package manager, is not installed`), "%p could not be built from its source: the host has no Rust compiler"},
	{regexp.MustCompile(`(?i)failed (to build|building)|subprocess-exited-with-error|metadata-generation-failed|BackendUnavailable`), "%p could not be built from its source"},
	{regexp.MustCompile(`No module named '?venv`), "this Python lacks its module venv (on Debian: apt-get install python3-venv)"},
}

// blamed is how pip names the package that is to blame.
var blamed = []*regexp.Regexp{
	regexp.MustCompile(`(?m)^ {4}([A-Za-z0-9][A-Za-z0-9._-]*)\S* from \S+:$`), // of another hash
	regexp.MustCompile(`Package '([A-Za-z0-9][A-Za-z0-9._-]*)' requires a different Python`),
	regexp.MustCompile(`Failed to build '([A-Za-z0-9][A-Za-z0-9._-]*)' when`),
	regexp.MustCompile(`(?m)^╰─> ([A-Za-z0-9][A-Za-z0-9._-]*)$`),
	regexp.MustCompile(`(?i)Failed building wheel for ([A-Za-z0-9][A-Za-z0-9._-]*)`),
	nothingFound,
}

// causeOf gives the likely cause in what a program said; "" if it is not known.
func causeOf(text, python string) string {
	c, ok := lo.Find(causes, func(c cause) bool { return c.says.MatchString(text) })
	if !ok {
		return ""
	}
	return strings.NewReplacer("%s", python, "%p", blame(text)).Replace(c.text)
}

func blame(text string) string {
	for _, b := range blamed {
		if m := b.FindStringSubmatch(text); m != nil {
			return m[1]
		}
	}
	return "a package"
}
