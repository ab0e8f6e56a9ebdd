package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"agentctl/clearml"
	"agentctl/test/e2e/harness"
)

// With an interpreter that is given, by the variable of clearml-agent or in node.yaml,
// nothing is installed: a task has what that has.
func TestGivenInterpreter(t *testing.T) {
	t.Parallel()
	n := harness.New(t)
	venv := filepath.Join(n.Dir, "given")
	base := "/usr/bin/python3" // of the machine, since tasks are another user's
	if _, err := os.Stat(base); err != nil {
		base = "python3"
	}
	if out, err := exec.Command(base, "-m", "venv", "--without-pip", venv).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	python := filepath.Join(venv, "bin", "python")
	n.Env = append(n.Env, "CLEARML_AGENT_SKIP_PIP_VENV_INSTALL="+python)
	n.StartAgent()
	n.Apply(node(oneWorker))
	run := func(want string) string {
		t.Helper()
		task := n.Submit(harness.Script{Pip: []string{"nobody-has-this==1.0"}, Code: "import sys; print('by', sys.executable)"})
		n.WaitStatus(task, want)
		return strings.Join(n.Console(task), "\n")
	}
	console := run(clearml.StatusCompleted)
	if !strings.Contains(console, "by "+python) || !strings.Contains(console, "the packages that the task lists are not installed") {
		t.Errorf("the console says\n%s", console)
	}
	// Another one in its place would have other packages.
	if err := exec.Command("mv", venv, venv+"-away").Run(); err != nil {
		t.Fatal(err)
	}
	if console := run(clearml.StatusFailed); !strings.Contains(console, "cannot use the interpreter "+python+": ") {
		t.Errorf("the console says\n%s", console)
	}
}
