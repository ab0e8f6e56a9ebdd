package e2e_test

import (
	"os"
	"path/filepath"
	"testing"

	"agentctl/clearml"
	"agentctl/test/e2e/harness"
	"agentctl/test/imagekit"
	"agentctl/worker"
)

// Debian packages of the node and of a task are put into the image once, by the image's
// own apt; they are the image's from then on, and leave no trace in it.
func TestSandboxAptPackages(t *testing.T) {
	t.Parallel()
	r, settings := registry(t)
	ref := r.Push(t, "kit/apt:1", imagekit.Apt(t))
	n := boxed(t, ref, settings+"    aptPackages: [kit-hello]\n    allow: {aptPackages: [kit-extra, kit-broken, kit-none]}\n")
	asking := func(code, packages string) harness.Script {
		script := shellTask(code, nil)
		change := script.Change
		script.Change = func(todo *clearml.NewTask) {
			change(todo)
			todo.Hyperparams = map[string]map[string]clearml.Param{worker.ChoiceSection: {worker.ChoiceApt: {Value: clearml.Text(packages)}}}
		}
		return script
	}
	const look = `kit-hello; stat -c "%u %g %a" /usr/bin/kit-hello; stat -c "status of %u" /var/lib/dpkg/status
echo "id $(id -u), left $(ls -A /var/tmp /var/cache/apt/archives | wc -w)"`
	for _, want := range []string{"apt: kit-hello: installed in", "apt: kit-hello: here already"} {
		task := n.Submit(shellTask(look, nil))
		n.WaitStatusFor(2*harness.Patience, task, clearml.StatusCompleted)
		for _, line := range []string{want, "hello of the kit", "1000 1000 4755", "status of 0", "id 1000, left "} {
			n.WantConsole(t, task, line)
		}
	}
	both := n.Submit(asking("kit-hello\nkit-extra\n", "['kit-extra']"))
	n.WaitStatusFor(2*harness.Patience, both, clearml.StatusCompleted)
	n.WantConsole(t, both, "extra of the kit")
	for packages, want := range map[string]string{
		"kit-broken":  "all is lost",
		"kit-none":    "Unable to locate package kit-none",
		"kit-other":   "spec.sandbox.allow.aptPackages",
		"--reinstall": "is no package of Debian",
	} {
		task := n.Submit(asking("echo never\n", packages))
		n.WaitStatusFor(2*harness.Patience, task, clearml.StatusFailed)
		n.WantConsole(t, task, want)
	}
	busybox := r.Push(t, "kit/busybox:1", imagekit.Busybox(t))
	without := n.Submit(shellTask("echo on\n", map[string]string{"image": busybox}))
	n.WaitStatus(without, clearml.StatusCompleted)
	n.WantConsole(t, without, "the image has no apt, and goes without kit-hello")
	script := asking("echo never\n", "kit-extra")
	change := script.Change
	script.Change = func(todo *clearml.NewTask) { change(todo); todo.Container = map[string]string{"image": busybox} }
	refused := n.Submit(script)
	n.WaitStatus(refused, clearml.StatusFailed)
	n.WantConsole(t, refused, "has no apt")
	for _, pattern := range []string{"tasks/*/box-*", "images/added/*.partial", "images/added/.work-*", "images/added/*/work", "images/added/*/upper"} {
		if left, _ := filepath.Glob(filepath.Join(n.State, pattern)); left != nil {
			t.Errorf("left: %q", left)
		}
	}
	if entries, err := os.ReadDir(filepath.Join(n.State, "images", "added")); err != nil || countFolders(entries) != 2 {
		t.Errorf("%v, %v, want two layers", entries, err)
	}
}

func countFolders(entries []os.DirEntry) (n int) {
	for _, e := range entries {
		if e.IsDir() {
			n++
		}
	}
	return n
}

// An agent that dies while packages are installed, its sandbox still at work, or before
// they are there for all, leaves nothing of it, and the next one installs them.
func TestSandboxAptAgentDies(t *testing.T) {
	t.Parallel()
	r, settings := registry(t)
	n := boxed(t, r.Push(t, "kit/apt:1", imagekit.Apt(t)), settings+"    allow: {aptPackages: [kit-hello, kit-extra]}\n")
	n.StopAgent()
	n.Program = harness.Program(t, "crashpoints")
	for point, packages := range map[string]string{"box.started": "kit-hello", "added.filled": "kit-extra"} {
		n.Env = []string{"AGENTCTL_CRASH_AT=" + point}
		n.StartAgent()
		script := shellTask("kit-hello\n", nil)
		change := script.Change
		script.Change = func(todo *clearml.NewTask) {
			change(todo)
			todo.Hyperparams = map[string]map[string]clearml.Param{worker.ChoiceSection: {worker.ChoiceApt: {Value: clearml.Text(packages)}}}
		}
		task := n.Submit(script)
		n.WaitAgent()
		n.Env = nil
		n.StartAgent()
		n.WaitStatusFor(2*harness.Patience, task, clearml.StatusCompleted)
		n.WantConsole(t, task, "apt: "+packages+": installed in")
		n.WantConsole(t, task, "hello of the kit")
		n.StopAgent()
		for _, pattern := range []string{"tasks/*/box-*", "images/added/*.partial", "images/added/.work-*", "images/added/.trash-*", "images/added/*/upper"} {
			if left, _ := filepath.Glob(filepath.Join(n.State, pattern)); left != nil {
				t.Errorf("%s: left: %q", point, left)
			}
		}
	}
}
