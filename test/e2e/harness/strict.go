package harness

import (
	"path/filepath"
	"regexp"
	"testing"
)

// SDKStrict is a folder for PYTHONPATH: with it the SDK prints an error about each reply
// that is not as its own schema says.
func SDKStrict(t testing.TB) string {
	t.Helper()
	return filepath.Join(Root(t), "test", "e2e", "harness", "strict")
}

// complaint is what the SDK and clearml-agent print when they do not like a reply.
var complaint = regexp.MustCompile(`(?im)^.*(\bERROR\b|\bWARNING\b|Action failed|Traceback|failed parsing|retrying).*$`)

// Complaints are the lines of an output in which a client complains.
func Complaints(out string) []string { return complaint.FindAllString(out, -1) }
