package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"agentctl/clearml"
	"agentctl/control"
	"agentctl/test/e2e/harness"
	"agentctl/test/imagekit"

	"golang.org/x/sys/unix"
)

// sayGPUs is a task that says which GPUs it was given.
const sayGPUs = `import os
print("gpus", os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("NVIDIA_VISIBLE_DEVICES"), os.environ["CUDA_DEVICE_ORDER"])
`

// Tasks are told which GPUs are theirs, as clearml-agent tells them, and hold them
// through an agent's death. The spec names the GPUs, so the host needs none.
func TestGPUsOfTasks(t *testing.T) {
	t.Parallel()
	n := harness.New(t)
	n.StartAgent()
	workers := []string{
		"{name: list, queues: [list], mode: venv, gpus: [2, 0]}", "{name: share, queues: [share], mode: venv, gpus: 0.5}",
		"{name: none, queues: [none], mode: venv}", "{name: all, queues: [all], mode: venv, count: 0, gpus: all}",
	}
	const slots = "  gpus: {slots: [{device: 0}, {device: GPU-11aa}, {device: 2}, {device: 3, shares: 2}]}\n"
	n.Apply(node(workers...) + slots)
	held := n.Create(harness.Script{Code: n.Code(sayGPUs + "open_gate('up'); wait_gate('end')")})
	n.Enqueue(held, "list")
	for queue, want := range map[string]string{"share": "3", "none": "none"} {
		task := n.Create(harness.Script{Code: sayGPUs})
		n.Enqueue(task, queue)
		n.WaitStatus(task, clearml.StatusCompleted)
		n.WantConsole(t, task, fmt.Sprintf("gpus %s %[1]s PCI_BUS_ID", want))
	}
	n.WaitGate("up")
	n.KillAgent()
	n.WaitAgent()
	n.StartAgent()
	waitHolder(n, control.GPUHolder{Slot: "2", Worker: "list/0", Task: held})
	// Another worker is to have them: when the task has ended.
	n.WriteFile(node("{name: other, queues: [list], mode: venv, gpus: [GPU-11aa, 2]}") + slots)
	harness.Eventually(t, harness.Patience, "the other to wait", func() string {
		for _, a := range n.Snapshot().Plan.Actions {
			if a.Worker == "other/0" && strings.Contains(a.Reason, "gpu 2 is held by list/0") {
				return ""
			}
		}
		return fmt.Sprint(n.Snapshot().Plan.Actions)
	})
	n.Open("end")
	n.WaitStatus(held, clearml.StatusCompleted)
	n.WantConsole(t, held, "gpus 2,0 2,0 PCI_BUS_ID")
	task := n.Create(harness.Script{Code: sayGPUs})
	n.Enqueue(task, "list")
	n.WaitStatus(task, clearml.StatusCompleted)
	n.WantConsole(t, task, "gpus GPU-11aa,2 GPU-11aa,2 PCI_BUS_ID")
	if out := n.Must("describe", "gpu", "2"); !strings.Contains(out, "other/0") {
		t.Errorf("described as\n%s", out)
	}
}

// waitHolder waits until a GPU has one holder.
func waitHolder(n *harness.Node, want control.GPUHolder) {
	n.T.Helper()
	harness.Eventually(n.T, harness.Patience, "the GPU to be held", func() string {
		var g control.GPU
		out := n.Must("get", "gpus", want.Slot, "-o", "json")
		if err := json.Unmarshal([]byte(out), &g); err != nil {
			n.T.Fatal(err)
		}
		if len(g.Holders) == 1 && g.Holders[0] == want {
			return ""
		}
		return out
	})
}

// A sandbox shows the nodes of its worker's GPUs and no others, with the driver's
// libraries, by a specification of the Container Device Interface. Nodes of other
// devices stand for those of GPUs.
func TestSandboxGPUs(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root makes device nodes")
	}
	libraries, err := filepath.Glob("/lib*/*/libc.so.6")
	if err != nil || len(libraries) == 0 {
		t.Skip("no libc.so.6 to stand for a library of the driver")
	}
	nodes := filepath.Join("/dev", filepath.Base(t.TempDir())+"-"+fmt.Sprint(os.Getpid()))
	for i, minor := range []uint32{3, 5} { // null and zero
		if err := unix.Mknod(nodes+fmt.Sprint(i), unix.S_IFCHR|0o666, int(unix.Mkdev(1, minor))); err != nil {
			t.Skipf("no device nodes can be made here: %v", err)
		}
		t.Cleanup(func() { _ = os.Remove(nodes + fmt.Sprint(i)) })
		if err := os.Chmod(nodes+fmt.Sprint(i), 0o666); err != nil { // whatever the umask
			t.Fatal(err)
		}
	}
	r, settings := registry(t)
	ref := r.Push(t, "kit/busybox:1", imagekit.Busybox(t))
	n := harness.New(t)
	cdi, hooked := filepath.Join(n.Dir, "cdi"), filepath.Join(n.Dir, "hooked")
	if err := os.Mkdir(cdi, 0o755); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`{"cdiVersion": "0.5.0", "kind": "nvidia.com/gpu", "devices": [
{"name": "0", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia0", "hostPath": %q}]}},
{"name": "1", "containerEdits": {"deviceNodes": [{"path": "/dev/nvidia1", "hostPath": %q}]}}],
"containerEdits": {"env": ["KIT=edited", "PLAYED=1"], "mounts": [{"hostPath": %q, "containerPath": "/usr/lib/libc.so.6", "options": ["ro"]}],
"hooks": [{"hookName": "createContainer", "path": "/bin/touch", "args": ["touch", %q]}]}}`, nodes+"0", nodes+"1", libraries[0], hooked)
	if err := os.WriteFile(filepath.Join(cdi, "nvidia.json"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	n.StartAgent("--cdi-spec-dir", cdi)
	n.Apply(node(fmt.Sprintf("{name: box, queues: [default], mode: sandbox, image: %q, gpus: [1]}", ref)) +
		"  gpus: {slots: [{device: 0}, {device: 1}, {device: 2}]}\n  sandbox:\n" + settings)
	const code = `echo nodes /dev/nvidia*; head -c 2 /dev/nvidia1 | wc -c
ls -l /usr/local/nvidia/lib64; (echo x > /usr/local/nvidia/lib64/libc.so.6) 2>/dev/null || echo read-only
echo said $NVIDIA_VISIBLE_DEVICES ${CUDA_VISIBLE_DEVICES-unset} $LD_LIBRARY_PATH $KIT $PLAYED
`
	task := n.Submit(shellTask(code, map[string]string{"arguments": "--gpus all -e LD_LIBRARY_PATH=/mine"}))
	n.WaitStatus(task, clearml.StatusCompleted)
	for _, want := range []string{
		"nodes /dev/nvidia1", "2", "libc.so", "read-only", "said all unset /mine:/usr/local/nvidia/lib64 edited 1",
		"the GPUs of a task are those of its worker",
	} {
		n.WantConsole(t, task, want)
	}
	if _, err := os.Stat(hooked); err == nil {
		t.Error("a hook was run")
	}
	// A GPU that nobody can show.
	n.WriteFile(node(fmt.Sprintf("{name: box, queues: [default], mode: sandbox, image: %q, gpus: [2]}", ref)) +
		"  gpus: {slots: [{device: 0}, {device: 1}, {device: 2}]}\n  sandbox:\n" + settings)
	waitHolder(n, control.GPUHolder{Slot: "2", Worker: "box/0"})
	none := n.Submit(shellTask("echo never\n", nil))
	n.WaitStatus(none, clearml.StatusFailed)
	n.WantConsole(t, none, "cannot show gpu 2 in a sandbox")
}
