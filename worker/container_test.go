package worker

import (
	"errors"
	"strings"
	"testing"

	"agentctl/clearml"
	"agentctl/runtime/dockerargs"
	"agentctl/spec"

	"github.com/google/go-cmp/cmp"
)

// sandboxWorker is the one worker of a node.yaml with these settings of the sandbox.
func sandboxWorker(t *testing.T, sandbox string) spec.Worker {
	t.Helper()
	n, problems := spec.Decode("node.yaml", []byte(`apiVersion: agentctl/v1
kind: Node
spec:
  workers: [{name: a, queues: [q], mode: sandbox, image: "python:3.12-slim", resources: {cpus: 4, memory: 8Gi, pids: 1000}}]
  sandbox: `+sandbox+"\n"))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return spec.Expand(n.Default(spec.Env{}))[0]
}

func taskIn(image, arguments string, script ...string) *clearml.Task {
	return &clearml.Task{Container: clearml.Container{Image: clearml.Text(image), Arguments: clearml.Text(arguments), SetupShellScript: script}}
}

// TestContainer: the image of the task, else that of the worker; of arguments what is
// allowed, over the node's.
func TestContainer(t *testing.T) {
	w := sandboxWorker(t, `{allow: {mounts: [/data]}, ulimits: {nofile: "1024:4096"},
    arguments: {env: {B: 1, A: 2}, hostEnv: [TOKEN], mounts: [{source: /models}], tmpfs: {/fast: 1Gi}, devices: ["/dev/kfd:r"], capAdd: [IPC_LOCK]}}`)
	got, err := containerOf(taskIn(" python:3.11 ", "-e B=task -v /data/x:/models:ro -m 2g --rm", "set -x", "# a comment", "pip install x", ""), w, nil, places{})
	if err != nil {
		t.Fatal(err)
	}
	want := container{
		Image: "docker.io/library/python:3.11", OwnImage: true, Setup: []string{"set -x\n# a comment\npip install x\n"},
		Settings: dockerargs.Settings{
			Env:     []dockerargs.Env{{Name: "A", Value: "2"}, {Name: "B", Value: "1"}, {Name: "TOKEN", FromHost: true}, {Name: "B", Value: "task"}},
			Mounts:  []dockerargs.Mount{{Target: "/fast", Size: 1 << 30}, {Source: "/data/x", Folder: "/data", Target: "/models", ReadOnly: true}},
			ShmSize: 1 << 30, Network: spec.NetworkHost, Memory: 2 << 30, CPUs: 4, PIDs: 1000,
			Ulimits: []dockerargs.Ulimit{{Name: "nofile", Soft: 1024, Hard: 4096}},
			Devices: []dockerargs.Device{{Path: "/dev/kfd", InContainer: "/dev/kfd", Permissions: "r"}},
			CapAdd:  []string{"CAP_IPC_LOCK"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	lookup := func(name string) (string, bool) { return "secret", name == "TOKEN" }
	if diff := cmp.Diff([]string{"A=2", "B=task", "TOKEN=secret"}, variables(got.Settings, lookup)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestContainerWriteBack: a task that named no image gets that of the worker, and keeps
// the rest of its section.
func TestContainerWriteBack(t *testing.T) {
	task := taskIn("", "-e A=b", "set -x", "true")
	w := sandboxWorker(t, "{}")
	c, err := containerOf(task, w, nil, places{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"container": map[string]string{"image": "python:3.12-slim", "arguments": "-e A=b", "setup_shell_script": "set -x\ntrue"}}
	if diff := cmp.Diff(want, c.writeBack(task)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	w.Image = spec.ImageHost
	if c, _ = containerOf(task, w, nil, places{}); c.writeBack(task) != nil {
		t.Error("host is written back")
	}
	task.Container.Image = "ubuntu"
	if c, _ = containerOf(task, w, nil, places{}); c.writeBack(task) != nil {
		t.Error("the task's own image is written back")
	}
}

// TestContainerAsked: the container section, and the one text of servers before 2.13.
func TestContainerAsked(t *testing.T) {
	legacy := func(text string) *clearml.Task { return &clearml.Task{Execution: clearml.Execution{DockerCmd: text}} }
	both := legacy("other -e A=b")
	both.Container.Image = "python:3.11"
	for _, c := range []struct {
		name  string
		task  *clearml.Task
		image string
		words []string
	}{
		{"nothing", &clearml.Task{}, "", nil},
		{"image", taskIn("python:3.11", ""), "python:3.11", nil},
		{"arguments alone", taskIn("", "-e 'A=b c'"), "", []string{"-e", "A=b c"}},
		{"legacy", legacy("python:3.11 -e 'A=b c'"), "python:3.11", []string{"-e", "A=b c"}},
		{"legacy image", legacy(" python:3.11 "), "python:3.11", []string{}},
		{"legacy arguments", legacy("-e A=b"), "", []string{"-e", "A=b"}},
		{"both", both, "python:3.11", nil},
	} {
		image, words, refused := asked(c.task)
		if image != c.image || strings.Join(words, "|") != strings.Join(c.words, "|") || refused != nil {
			t.Errorf("%s: %q, %q, %v", c.name, image, words, refused)
		}
	}
}

// TestContainerDenied: a task that asks for too much fails with all of it, or runs
// without it and says so.
func TestContainerDenied(t *testing.T) {
	task := taskIn("evil.example.com/x", "--privileged -v /etc:/x -e A=b --no-such")
	allow := `allow: {images: [docker.io/library/*]}`
	want := []string{
		`the image "evil.example.com/x": is not among those of spec.sandbox.allow.images; name another, or add evil.example.com/x:latest to it`,
		"--no-such: is no option of docker run that is known here; leave it out; what follows it was not read",
		"--privileged: would give the task the host; no key of spec.sandbox.allow allows it",
		"-v /etc:/x: /etc is not below a folder of spec.sandbox.allow.mounts; add /etc to it",
	}
	_, err := containerOf(task, sandboxWorker(t, "{"+allow+"}"), nil, places{})
	var denied *deniedError
	if !errors.As(err, &denied) || err.Error() != "cannot run the task in the container that it asks for: "+strings.Join(want, "\n") {
		t.Errorf("%v", err)
	}
	got, err := containerOf(task, sandboxWorker(t, "{onDenied: drop, "+allow+"}"), nil, places{})
	if err != nil {
		t.Fatal(err)
	}
	if got.Image != "python:3.12-slim" || got.OwnImage || len(got.Settings.Mounts) > 0 || len(got.Settings.Env) != 1 {
		t.Errorf("%+v", got)
	}
	for i, note := range got.Notes {
		if note != "dropped, since it is not allowed here: "+want[i] {
			t.Errorf("%s", note)
		}
	}
}

// TestContainerNotes: what a user may have expected to work otherwise is said.
func TestContainerNotes(t *testing.T) {
	c, err := containerOf(taskIn("", "--rm -e A='${CLEARML_TASK.id}' --gpus all"), sandboxWorker(t, "{}"), nil, places{})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"--gpus=all: has no effect: the GPUs of a task are those of its worker, by spec.workers[].gpus",
		"templates as ${CLEARML_TASK.id} are not replaced in arguments: the task finds its own in CLEARML_TASK_ID and the like",
	}
	if diff := cmp.Diff(want, c.Notes); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestContainerImage: which images a task may have.
func TestContainerImage(t *testing.T) {
	for _, c := range []struct {
		sandbox, image, want string // "" is refused
	}{
		{"{}", "ubuntu", "docker.io/library/ubuntu:latest"},
		{"{}", "registry.example.com:5000/a/b:c", "registry.example.com:5000/a/b:c"},
		{"{}", "python:3.12-slim", "python:3.12-slim"}, // is the worker's own
		{"{}", "host", ""},
		{`{allow: {images: ["*"]}}`, "host", ""},
		{`{allow: {images: [host]}}`, "host", "host"},
		{`{allow: {images: [host]}}`, "ubuntu", ""},
		{`{allow: {images: []}}`, "ubuntu", ""},
		{`{allow: {images: []}}`, "python:3.12-slim", "python:3.12-slim"},
		{`{allow: {images: ["*"]}}`, "ubuntu", "docker.io/library/ubuntu:latest"},
		{`{allow: {images: [ubuntu]}}`, "docker.io/library/ubuntu:latest", "docker.io/library/ubuntu:latest"},
		{`{allow: {images: [ubuntu]}}`, "ubuntu:evil", ""},
		{`{allow: {images: ["ubuntu:*"]}}`, "docker.io/ubuntu:22.04", "docker.io/library/ubuntu:22.04"},
		{`{allow: {images: ["ubuntu:*"]}}`, "ubuntu-evil:22.04", ""},
		{`{allow: {images: [registry.example.com/*]}}`, "registry.example.com/x", "registry.example.com/x:latest"},
		{`{allow: {images: [registry.example.com/*]}}`, "registry.example.com.evil.org/x", ""},
		{`{allow: {images: [registry.example.com/*]}}`, "registry.example.com/../x", ""},
		{"{}", "a b", ""}, {"{}", "-v", ""}, {"{}", "/etc", ""}, {"{}", "https://x/y", ""}, {"{}", "UPPER", ""}, {"{}", "a\nb", ""}, {"{}", strings.Repeat("a", 500), ""},
	} {
		got, err := containerOf(taskIn(c.image, ""), sandboxWorker(t, c.sandbox), nil, places{})
		if c.want == "" && err == nil || c.want != "" && got.Image != c.want {
			t.Errorf("%s, %.60q: %s, %v", c.sandbox, c.image, got.Image, err)
		}
		if err != nil && strings.Contains(err.Error(), "a\nb") {
			t.Errorf("%v", err)
		}
	}
}

// TestCapabilities: node.yaml allows the very capabilities that the policy knows.
func TestCapabilities(t *testing.T) {
	for _, name := range dockerargs.Capabilities {
		w := sandboxWorker(t, "{allow: {capAdd: ["+name+"]}}")
		if _, err := containerOf(taskIn("", "--cap-add "+name), w, nil, places{}); err != nil {
			t.Errorf("%v", err)
		}
	}
	for _, name := range []string{"ALL", "SYS_ADMIN", "SYS_MODULE", "SYS_RAWIO", "SYS_BOOT", "SYS_TIME", "MAC_ADMIN", "BPF", "PERFMON", "DAC_READ_SEARCH", "CHECKPOINT_RESTORE", "SYSLOG", "MKNOD"} {
		n := &spec.Node{APIVersion: spec.APIVersion, Kind: spec.KindNode, Spec: spec.NodeSpec{Workers: []spec.WorkerSpec{}}}
		n.Spec.Sandbox.Allow.CapAdd = []string{name}
		if spec.Validate(n).Err() == nil {
			t.Errorf("%s can be allowed", name)
		}
	}
}
