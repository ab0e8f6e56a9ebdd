package e2e_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"agentctl/clearml"
	"agentctl/control"
	"agentctl/test/e2e/harness"
	"agentctl/test/imagekit"
	"agentctl/worker"
)

// boxed has a node whose one worker runs sandboxes, of an image of a registry that
// asks for a login, and the rest of its settings.
func boxed(t *testing.T, image, more string) *harness.Node {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("sandboxes of root: the test is not root")
	}
	n := harness.New(t)
	n.StartAgent()
	n.Apply(fmt.Sprintf(`apiVersion: agentctl/v1
kind: Node
metadata: {name: e2e}
spec:
  workers:
    - {name: box, queues: [default], mode: sandbox, image: %q, stopGrace: 5s, %s}
  packageManager: {python: {onMissing: nearest}}
  cache: {minFree: 100Mi}
  sandbox:
%s`, image, harness.Where, more))
	return n
}

// registry serves an image to those who have the login of the file.
func registry(t *testing.T) (r *imagekit.Registry, settings string) {
	t.Helper()
	r = imagekit.Serve(t, &imagekit.Registry{User: "somebody", Password: "s3same-open"})
	file := filepath.Join(t.TempDir(), "config.json")
	login := base64.StdEncoding.EncodeToString([]byte("somebody:s3same-open"))
	if err := os.WriteFile(file, fmt.Appendf(nil, `{"auths": {%q: {"auth": %q}}}`, r.Host(), login), 0o600); err != nil {
		t.Fatal(err)
	}
	return r, fmt.Sprintf("    credentialsFile: %s\n    registries: [{name: %q, insecure: true}]\n", file, r.Host())
}

// shellTask is a task that is a shell script.
func shellTask(code string, container map[string]string) harness.Script {
	return harness.Script{Code: code, Change: func(t *clearml.NewTask) {
		t.Script.Binary, t.Container = "/bin/sh", container
	}}
}

// In the host's file system as an image a task has its environment, and of the host
// what every user may read: nothing of the agent, of homes, or of other processes.
func TestSandboxOfTheHost(t *testing.T) {
	t.Parallel()
	n := boxed(t, "host", `    network: host
    setupScript: |
      export BY=node
      [ -z "$RULED" ] || false | true
    rules:
      - match: {project: "^e2e/rul", tags: ["^none$"]}
        setupScript: exit 1
      - match: {project: "^e2e/rul", tags: ["^ruled$"], requirements: ["^six=="]}
        arguments: {env: {RULED: by rule}}
        setupScript: 'BY="$BY, rule"'
`)
	canary := filepath.Join(n.Dir, "canary")
	if err := os.WriteFile(canary, []byte("outside"), 0o666); err != nil {
		t.Fatal(err)
	}
	task := n.Submit(harness.Script{Pip: []string{"six==1.17.0"}, Code: fmt.Sprintf(`import os, six, sys
print("six", six.__version__, "uid", os.getuid(), "host", os.uname().nodename)
assert os.listdir("/root") == [] and os.listdir("/home") == [], "sees homes"
state = %q
seen = sorted(os.listdir(state)) if os.path.isdir(state) else []
assert set(seen) <= {"envs", "tasks", "tools"}, seen
assert len(os.listdir(state + "/envs")) == 1 and len(os.listdir(state + "/tasks")) == 1, "sees what is others'"
pids = [p for p in os.listdir("/proc") if p.isdigit()]
assert len(pids) <= 3, pids
assert not os.access("/etc/shadow", os.R_OK) and not os.access("/usr", os.W_OK)
fds = sorted(int(f) for f in os.listdir("/proc/self/fd"))
assert fds[:3] == [0, 1, 2] and len(fds) <= 4, fds
open(sys.prefix + "/mine", "w").write("mine")
open(%q, "w").write("inside") # in a /tmp of its own
try:
    open("/usr/canary", "w")
    raise SystemExit("wrote into /usr")
except OSError:
    print("all is well")
`, n.State, canary)})
	n.WaitStatus(task, clearml.StatusCompleted)
	n.WantConsole(t, task, "six 1.17.0 uid 0 host "+task)
	n.WantConsole(t, task, "all is well")
	if data, err := os.ReadFile(canary); err != nil || string(data) != "outside" {
		t.Errorf("the canary says %q, %v", data, err)
	}
	again := n.Submit(harness.Script{Pip: []string{"six==1.17.0"}, Code: "import os, sys\nassert not os.path.exists(sys.prefix + '/mine'), 'finds what another task wrote'\n"})
	n.WaitStatus(again, clearml.StatusCompleted)
	if env := n.TaskStatus(again).Environment; env != "hit" {
		t.Errorf("environment %q, want a hit", env)
	}
	ruled(t, n)
}

// ruled: a rule of the node fits a task by its project, a tag and a package.
func ruled(t *testing.T, n *harness.Node) {
	t.Helper()
	project, err := n.Client().ProjectID(t.Context(), "e2e/ruled")
	if err != nil {
		t.Fatal(err)
	}
	script := shellTask("echo by $BY, task: $RULED\n", map[string]string{"setup_shell_script": "BY=\"$BY, task\"\nexport BY\n"})
	change := script.Change
	script.Pip, script.Change = []string{"six==1.17.0"}, func(todo *clearml.NewTask) {
		change(todo)
		todo.Project, todo.Tags = project, []string{"blue", "ruled"}
	}
	task := n.Submit(script)
	n.WaitStatus(task, clearml.StatusCompleted)
	n.WantConsole(t, task, "by node, rule, task, task: by rule")
	n.WantConsole(t, task, "spec.sandbox.rules[1] fits the task")
	if said := n.Must("describe", "task", task); !strings.Contains(said, "spec.sandbox.rules[1]") {
		t.Errorf("describe does not tell of the rule:\n%s", said)
	}
}

// An image is pulled with the node's login; a task needs neither Python nor git in
// it, names its own image and arguments, and is refused what is not allowed.
func TestSandboxOfAnImage(t *testing.T) {
	t.Parallel()
	r, settings := registry(t)
	ref := r.Push(t, "kit/busybox:1", imagekit.Busybox(t))
	n := boxed(t, "host", settings+"    arguments: {groups: [77], devices: [\"/dev/full:/dev/kit/full:r\"]}\n")
	plain := n.Submit(shellTask("echo kit=$KIT uid=$(id -u) host=$(hostname) groups=$(id -G); echo device $(ls /dev/kit); ls /usr/bin/python3 2>&1; echo x > /made && cat /made; exit 3\n", map[string]string{
		"image": ref, "arguments": "-e GREETING='good day' --hostname=inside -w /tmp", "setup_shell_script": "export SET=up\necho setting $GREETING\n",
	}))
	n.WaitStatus(plain, clearml.StatusFailed)
	for _, want := range []string{"kit=busybox uid=0 host=inside groups=0 77", "device full", "setting good day", "x"} {
		n.WantConsole(t, plain, want)
	}
	n.WantConsole(t, plain, "exit code 3")
	stops := n.Submit(shellTask("echo never\n", map[string]string{"image": ref, "setup_shell_script": "false\necho on\n"}))
	n.WaitStatus(stops, clearml.StatusFailed)
	if text := strings.Join(n.Console(stops), "\n"); strings.Contains(text, "never") || strings.Contains(text, "\non") {
		t.Errorf("the setup script went on after its first error:\n%s", text)
	}
	for arguments, want := range map[string]string{
		"--privileged": "--privileged",
		"-v /etc:/mnt": "spec.sandbox.allow.mounts",
		"--ipc=host":   "spec.sandbox.allow.ipc",
	} {
		refused := n.Submit(shellTask("echo never\n", map[string]string{"image": ref, "arguments": arguments}))
		n.WaitStatus(refused, clearml.StatusFailed)
		n.WantConsole(t, refused, want)
	}
	none := n.Submit(shellTask("echo never\n", map[string]string{"image": r.Host() + "/kit/nothing:1"}))
	n.WaitStatus(none, clearml.StatusFailed)
	n.WantConsole(t, none, "kit/nothing")
	for _, task := range []string{plain, none} {
		if text := strings.Join(n.Console(task), "\n") + n.AgentLog(); strings.Contains(text, "s3same") {
			t.Error("the registry's password is on the console or in the log")
		}
	}
}

// The environment of a Python task is built in its image, by the image's Python, with
// pip and with uv, and is found again; what a package does while it is built stays in
// there.
func TestSandboxBuildsInTheImage(t *testing.T) {
	t.Parallel()
	r, settings := registry(t)
	n := boxed(t, r.Push(t, "kit/debian:1", imagekit.Debian(t)), settings)
	canary := filepath.Join(n.State, "canary")
	repository := n.NewRepository(map[string]string{
		"requirements.txt": "six==1.17.0\n./pkg\n",
		"main.py":          "import os, six, writes\nprint('six', six.__version__, writes.VALUE, os.path.exists('/usr/canary'))\n",
		"pkg/writes.py":    "VALUE = 7\n",
		"pkg/setup.py": fmt.Sprintf(`from setuptools import setup
import os
caches = [os.path.join(top, d, "canary") for top, dirs, _ in os.walk(%q) for d in dirs]
for path in [%q, "/usr/canary"] + caches:
    try:
        open(path, "w").write("inside")
    except OSError:
        pass
setup(name="writes", version="1.0", py_modules=["writes"])
`, filepath.Join(n.State, "cache"), canary),
	})
	for _, manager := range []string{"pip", "uv"} {
		script := harness.Script{Change: func(t *clearml.NewTask) {
			t.Script = clearml.Script{Repository: repository.Bare, Branch: "main", EntryPoint: "main.py", WorkingDir: "."}
			t.Hyperparams = map[string]map[string]clearml.Param{worker.ChoiceSection: {"packageManager.type": {Value: clearml.Text(manager)}}}
		}}
		for _, want := range []string{"built", "hit"} {
			task := n.Submit(script)
			n.WaitStatusFor(3*harness.Patience, task, clearml.StatusCompleted)
			n.WantConsole(t, task, "six 1.17.0 7 False")
			if env := n.TaskStatus(task).Environment; env != want {
				t.Errorf("%s: environment %q, want %q", manager, env, want)
			}
		}
	}
	if _, err := os.Stat(canary); err == nil {
		t.Error("a package that was built wrote into the state folder")
	}
	if left, _ := filepath.Glob(filepath.Join(n.State, "tasks", "*", "box-*")); left != nil {
		t.Errorf("sandboxes of builds are left: %q", left)
	}
	// It fails when something is removed meanwhile, which is no fault.
	if out, _ := exec.Command("find", filepath.Join(n.State, "cache"), "-name", "canary").Output(); len(out) > 0 {
		t.Errorf("a package that was built wrote among the downloads of others:\n%s", out)
	}
	// What no code of a package could touch is kept.
	plain := n.Submit(harness.Script{Pip: []string{"iniconfig==2.1.0"}, Code: "import iniconfig\n", Change: func(t *clearml.NewTask) {
		t.Hyperparams = map[string]map[string]clearml.Param{worker.ChoiceSection: {worker.ChoiceManager: {Value: "uv"}}}
	}})
	n.WaitStatusFor(3*harness.Patience, plain, clearml.StatusCompleted)
	if kept, _ := filepath.Glob(filepath.Join(n.State, "cache", "uv-*", "wheels-*", "*", "iniconfig")); len(kept) == 0 {
		t.Error("no download is kept")
	}
	if left, _ := filepath.Glob(filepath.Join(n.State, "envs", ".work-*")); left != nil {
		t.Errorf("left %q", left)
	}
	wantBytecode(t, n)
}

// wantBytecode wants the library of the image's Python to come to be compiled, for tasks
// alone: the image as it was pulled stays as it was.
func wantBytecode(t *testing.T, n *harness.Node) {
	t.Helper()
	harness.Eventually(t, harness.IdlePatience, "the image's bytecode", func() string {
		if made, _ := filepath.Glob(filepath.Join(n.State, "images", "added", "*.json")); len(made) != 1 {
			return fmt.Sprintf("%q are there", made)
		}
		return ""
	})
	task := n.Submit(harness.Script{Code: `import importlib.util, os
path = importlib.util.cache_from_source(os.path.join(os.path.dirname(os.__file__), "wave.py"))
print("compiled", os.path.exists(path), oct(os.stat(path).st_mode), os.stat(path).st_uid)
`})
	n.WaitStatus(task, clearml.StatusCompleted)
	n.WantConsole(t, task, "compiled True 0o100644 0")
	if got, _ := filepath.Glob(filepath.Join(n.State, "images", "layers", "*", "fs", "usr", "lib", "python3*", "__pycache__", "wave.*")); len(got) != 0 {
		t.Errorf("the image's own layers hold %q", got)
	}
}

// While a task runs, the image of the next one is pulled and its environment built in
// it; nothing is said of that, and the task has a hit of both.
func TestLookAheadInASandbox(t *testing.T) {
	t.Parallel()
	r, settings := registry(t)
	busy := r.Push(t, "kit/busybox:1", imagekit.Busybox(t))
	n := boxed(t, r.Push(t, "kit/debian:1", imagekit.Debian(t)), settings)
	first := n.Submit(shellTask("echo staying; sleep 1000\n", map[string]string{"image": busy}))
	n.WaitConsole(first, regexp.MustCompile("^staying$"))
	next := n.Submit(harness.Script{Pip: []string{"six==1.17.0"}, Code: "import six; print('six', six.__version__)"})
	harness.Eventually(t, harness.IdlePatience, "the next task's environment", func() string {
		if whole, litter := environments(t, n); whole != 1 || litter != nil || n.Workers()[0].Ahead != "" {
			return fmt.Sprintf("%d environments, %q, %+v", whole, litter, n.Workers())
		}
		return ""
	})
	if task := n.Task(next); task.Status != clearml.StatusQueued || len(n.Console(next)) > 0 {
		t.Errorf("the task was touched: %+v, %q", task, n.Console(next))
	}
	if left, err := os.ReadDir(filepath.Join(n.State, "ahead")); err == nil {
		t.Errorf("left: %v", left)
	}
	asked := len(r.Asked())
	n.Must("stop", first)
	n.WaitStatus(next, clearml.StatusCompleted)
	n.WantConsole(t, next, "six 1.17.0")
	if env := n.TaskStatus(next).Environment; env != "hit" || len(r.Asked()) != asked {
		t.Errorf("environment %q, and the registry was asked for %q", env, r.Asked()[asked:])
	}
}

// Under each network a task with the SDK reaches its server, and what it reports
// arrives; without a network it reaches nothing else.
func TestSandboxNetworks(t *testing.T) {
	t.Parallel()
	n := boxed(t, "host", "    allow: {network: [host, private, none]}\n")
	outside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	for _, network := range []string{"host", "private", "none"} {
		task := n.Submit(harness.Script{
			Name: network, Pip: []string{"clearml==" + harness.SDKVersion},
			Code: fmt.Sprintf(`import os, socket
from clearml import Task
task = Task.init()
task.get_logger().report_scalar("loss", "train", value=0.5, iteration=1)
task.upload_artifact("result", artifact_object={"network": %q})
task.close()
try:
    socket.create_connection(("127.0.0.1", %d), timeout=5).close()
    print("reached the host")
except OSError as e:
    print("refused", e)
print("links", sorted(os.listdir("/sys/class/net")))
`, network, outside.Addr().(*net.TCPAddr).Port),
			Change: func(t *clearml.NewTask) { t.Container = map[string]string{"arguments": "--network=" + network} },
		})
		n.WaitStatusFor(3*harness.Patience, task, clearml.StatusCompleted)
		n.WantConsole(t, task, map[string]string{"host": "reached the host", "private": "refused", "none": "refused"}[network])
		got := say(t, n.SDK(n.Dir, `import json, sys
from clearml import Task
task = Task.get_task(task_id=sys.argv[1])
print("read=" + json.dumps([task.artifacts["result"].get()["network"], task.get_reported_scalars()["loss"]["train"]["y"]]))
`, task))
		if want := fmt.Sprintf("[%q, [0.5]]", network); got != want {
			t.Errorf("%s: read %s, want %s", network, got, want)
		}
	}
}

// exec looks into a sandbox as the task sees it; a killed agent does not end it.
func TestExecInASandbox(t *testing.T) {
	t.Parallel()
	r, settings := registry(t)
	n := boxed(t, r.Push(t, "kit/busybox:1", imagekit.Busybox(t)), settings)
	task := n.Submit(shellTask("echo mine > /mine; echo begun; sleep 600\n", nil))
	n.WaitConsole(task, regexp.MustCompile("^begun"))
	n.KillAgent()
	n.StartAgent()
	out, errs, code := n.Run("exec", task[:12], "--", "sh", "-c", "cat /mine; id -u; echo $KIT; echo bad >&2; exit 7")
	if out != "mine\n0\nbusybox\n" || errs != "bad\n" || code != 7 {
		t.Errorf("exit code %d, %q, %q", code, out, errs)
	}
	looksInto(t, n, task)
	for _, args := range [][]string{{"exec", task}, {"exec", "nosuch", "--", "sh"}, {"exec", task, "sh"}} {
		if _, errs, code := n.Run(args...); code == 0 || errs == "" {
			t.Errorf("%v: exit code %d, %q", args, code, errs)
		}
	}
	n.Must("stop", task)
	n.WaitStatus(task, clearml.StatusStopped)
	if left := n.TaskStatus(task); left.Status != "stopped" {
		t.Errorf("%+v", left)
	}
}

// looksInto tells of a task that runs in a sandbox what it is and uses.
func looksInto(t *testing.T, n *harness.Node, task string) {
	t.Helper()
	var used []control.Usage
	if err := json.Unmarshal([]byte(n.Must("top", "-o", "json")), &used); err != nil {
		t.Fatal(err)
	}
	if len(used) != 1 || used[0].Task != task || used[0].Memory <= 0 || used[0].PIDs < 1 {
		t.Errorf("top: %+v", used)
	}
	told := n.Must("describe", "task", task)
	for _, want := range []string{"Image: +.*/kit/busybox:1\n", "Digest: +sha256:[0-9a-f]{64}\n", "Network: +host\n", "User: +root inside, user [1-9][0-9]{4,} of the host\n"} {
		if !regexp.MustCompile(want).MatchString(told) {
			t.Errorf("%q is not in\n%s", want, told)
		}
	}
	if told := n.Must("audit", task); !strings.Contains(told, "kit/busybox:1") {
		t.Errorf("audit:\n%s", told)
	}
}

// The steps of a user of clearml's Docker mode: a task is cloned, the clone is given an
// image and arguments, and runs in it; a task without an image tells afterwards which
// one it ran in.
func TestSandboxByTheSDK(t *testing.T) {
	t.Parallel()
	r, settings := registry(t)
	ref, other := r.Push(t, "kit/busybox:1", imagekit.Busybox(t)), r.Push(t, "kit/busybox:2", imagekit.Busybox(t))
	n := boxed(t, ref, settings)
	first := n.Submit(shellTask("echo kit=$KIT a=$A\n", nil))
	n.WaitStatus(first, clearml.StatusCompleted)
	n.WantConsole(t, first, "kit=busybox a=")
	harness.Eventually(t, harness.Patience, "the image that ran on the task", func() string {
		if got := string(n.Task(first).Container.Image); got != ref {
			return got
		}
		return ""
	})
	clone := say(t, n.SDK(n.Dir, `import sys
from clearml import Task
task = Task.clone(sys.argv[1], name="clone")
task.set_base_docker(docker_image=sys.argv[2], docker_arguments="-e A=b --shm-size=16m", docker_setup_bash_script=["echo setting up"])
Task.enqueue(task, queue_name="default")
print("task=" + task.id)
`, first, other))
	n.WaitStatus(clone, clearml.StatusCompleted)
	n.WantConsole(t, clone, "setting up")
	n.WantConsole(t, clone, "kit=busybox a=b")
}
