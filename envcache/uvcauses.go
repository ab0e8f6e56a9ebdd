package envcache

import (
	"context"
	"regexp"
	"strings"
)

// uvCauses are what uv says when something well known went wrong; the first that
// is found names the cause.
var uvCauses = []struct {
	says  *regexp.Regexp
	cause string
}{
	{regexp.MustCompile(`(?i)no space left on device|disk quota exceeded`), "the disk is full"},
	{regexp.MustCompile(`Hash mismatch for|Hash-checking is required`), "a package is not the one whose hash was asked for"},
	{regexp.MustCompile("(?i)lockfile .*needs to be updated"), "uv.lock does not fit pyproject.toml: run `uv lock` and commit it"},
	{regexp.MustCompile(`(?i)resolved to Python .* incompatible with|pylock.* (requires|incompatible).*Python|requires-python`), "the project needs another Python than %s"},
	{regexp.MustCompile(`\b(401|403)\b|(?i)lack of valid authentication|authentication failed|could not read (Username|Password)`), causeRefused},
	{regexp.MustCompile(`(?i)error sending request|dns error|connection (refused|reset|timed out)|could not (connect|resolve)|failed to connect|request failed after|timed out`), causeUnreachable},
	{regexp.MustCompile(`has no wheels with a matching|doesn't have a source distribution or wheel`), "a package has no release for Python %s on this platform"},
	{regexp.MustCompile(`requires Python \S+ and`), "a package has no release for Python %s"},
	{regexp.MustCompile(`was not found in the|there is no version of|no versions? of|there are no versions`), "a package, or that version of it, is not in the index for Python %s on this platform"},
	{regexp.MustCompile(`No solution found`), "the requirements contradict each other"},
	{regexp.MustCompile("(?i)couldn't parse|unexpected '|expected `--hash`|unsupported (editable )?requirement|not a valid .pylock"), "a line of the requirements is not valid"},
	{regexp.MustCompile(`Failed to build|build backend returned an error|Failed to (generate|parse) metadata|Building source distributions .* is disabled`), "a package could not be built from its source"},
	{regexp.MustCompile("Group `|Extra `"), "the project has no such group or extra"},
	{regexp.MustCompile(`Git operation failed`), "a repository can't be fetched"},
}

// uvCause is the likely cause of a failure of uv, or "".
func uvCause(failed *BuildError, python string) string {
	text := strings.Join(failed.Lines, "\n")
	for _, c := range uvCauses {
		if c.says.MatchString(text) {
			return strings.ReplaceAll(c.cause, "%s", python)
		}
	}
	return ""
}

var uvFoundNothing = regexp.MustCompile(`ecause ([a-z0-9-]+) was not found in the`)

// notFound asks the indexes why uv found nothing of a package, as pip's failures
// are asked about; "" if that is not what failed.
func (u *uvRun) notFound(ctx context.Context, failed *BuildError) string {
	m := uvFoundNothing.FindStringSubmatch(strings.Join(failed.Lines, "\n"))
	if m == nil {
		return ""
	}
	j := pipJob{site: u.s, plan: &u.p.pipPlan}
	return j.askIndexes(ctx, missingPackage{name: m[1], asked: m[1], python: u.s.req.Python})
}
