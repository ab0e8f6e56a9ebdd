package harness

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/samber/lo"

	"agentctl/clearml"
)

// SDKStrict is a folder for PYTHONPATH: with it the SDK prints an error about each reply
// that is not as its own schema says.
func SDKStrict(t testing.TB) string {
	t.Helper()
	return filepath.Join(Root(t), "test", "e2e", "harness", "strict")
}

// complaint is what the SDK and clearml-agent print when they do not like a reply.
var complaint = regexp.MustCompile(`(?im)^.*(\bERROR\b|\bWARNING\b|Action failed|Traceback|failed parsing|retrying).*$`)

// Complaints are the lines of an output in which a client complains. That there is no
// GPU is no reply's fault.
func Complaints(out string) (found []string) {
	for _, line := range complaint.FindAllString(out, -1) {
		if !strings.Contains(line, "clearml.resource_monitor") {
			found = append(found, line)
		}
	}
	return found
}

// WantQuiet fails the test if the SDK complained in one of the node's tasks so far, or the
// server refused what is not allowed, as "ENDPOINT STATUS".
func (n *Node) WantQuiet(t testing.TB, allowed ...string) {
	t.Helper()
	tasks, err := n.Client().ListTasks(t.Context(), clearml.TaskFilter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		if bad := Complaints(strings.Join(n.Console(task.ID), "\n")); bad != nil {
			t.Errorf("task %s complains:\n%s", task.Name, strings.Join(bad, "\n"))
		}
	}
	if refused := lo.Without(n.Refused(), allowed...); len(refused) > 0 {
		t.Errorf("the server refused %v", refused)
	}
}
