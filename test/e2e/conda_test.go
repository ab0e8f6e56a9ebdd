package e2e_test

import (
	"slices"
	"strings"
	"testing"

	"agentctl/clearml"
	"agentctl/runtime"
	"agentctl/test/condakit"
	"agentctl/test/e2e/harness"
)

// A repository's environment.yml makes the task's environment: its Python, its
// programs, the variables of its activation. It is the same, and stays clean, on
// a host without namespaces; and a replay needs no channel.
func TestConda(t *testing.T) {
	t.Parallel()
	kit := condakit.Build(t)
	server := kit.Serve(t, &condakit.Server{User: "me", Password: "s3same-open"})
	n := harness.New(t)
	r := n.NewRepository(map[string]string{
		"environment.yml": "channels: [" + strings.Replace(server.Main(), "://", "://me:s3same-open@", 1) + "]\n" +
			"dependencies: [hello, activates, {pip: [iniconfig==2.1.0]}]\nvariables: {MINE: \"7\"}\n",
		"run.py": `import os, subprocess, sys, hello, iniconfig, six
print("python", sys.version.split()[0], "under", os.environ["CONDA_PREFIX"] in (sys.prefix, sys.base_prefix))
print("kit home", os.environ["KIT_HOME"] == os.environ["CONDA_PREFIX"] + "/share/kit", "mine", os.environ["MINE"])
print("tools", subprocess.check_output("hello; kit-tool", shell=True, text=True).split())
for f in (six.__file__, os.__file__):
    try:
        open(f, "a").write("raise SystemExit('poisoned')\n")
    except OSError as e:
        print("refused", e)
`,
	})
	script := harness.Script{Name: "first", Change: func(todo *clearml.NewTask) {
		todo.Script.Repository, todo.Script.Branch, todo.Script.EntryPoint = "file://"+r.Bare, "main", "run.py"
	}}
	n.StartAgent()
	n.Apply(node("{name: w, queues: [default], mode: venv, packageManager: {type: auto}}"))
	first := n.Submit(script)
	got := n.WaitStatusFor(3*harness.Patience, first, clearml.StatusCompleted).Script.Requirements
	lines := []string{"packages by conda from environment.yml", "python " + kit.Python + " under True", "kit home True mine 7", "tools ['hello', '1.0', 'kit-tool']"}
	for _, line := range lines {
		n.WantConsole(t, first, line)
	}
	if !slices.Contains(got.Conda, "six=1.17.0=kit_0") || !slices.Equal(got.Pip, []string{"iniconfig==2.1.0"}) || strings.Contains(string(got.Lock), "s3same") {
		t.Errorf("requirements %+v", got)
	}
	was := n.TaskStatus(first)

	t.Run("on a host without namespaces", func(t *testing.T) {
		n.On(t)
		n.StopAgent()
		n.StartAgent("--mount-ns", runtime.MountNone)
		script.Name = "thin"
		task := n.Submit(script)
		n.WaitStatus(task, clearml.StatusCompleted)
		for _, line := range lines {
			n.WantConsole(t, task, line)
		}
		if now := n.TaskStatus(task); now.Environment != "hit" || now.EnvKey != was.EnvKey {
			t.Errorf("environment %s %s, want a hit of %s", now.Environment, now.EnvKey, was.EnvKey)
		}
	})
	t.Run("a replay needs no channel", func(t *testing.T) {
		n.On(t)
		n.StopAgent()
		forgetEnvironments(t, n)
		n.StartAgent()
		server.Close()
		stdout, stderr, code := n.Run("execute", "--id", first, "--replay")
		if code != 0 || !strings.Contains(stdout, "kit home True mine 7") {
			t.Fatalf("exit code %d\n%s%s", code, stdout, stderr)
		}
	})
}
