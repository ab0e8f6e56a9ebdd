package worker

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"agentctl/clearml"
	"agentctl/runtime"
	"agentctl/runtime/dockerargs"
	"agentctl/spec"
)

// The range of ids is what node.yaml says, else what it was before: environments of
// sandboxes belong to it.
func TestIDRange(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("an ordinary user has the range that /etc/subuid gives it")
	}
	state := t.TempDir()
	first, err := IDRange(state, spec.IDRange{})
	if err != nil || first.Base <= 0 || first.Size != idRangeSize {
		t.Fatalf("%+v, %v", first, err)
	}
	if again, err := IDRange(state, spec.IDRange{}); err != nil || again != first {
		t.Errorf("%+v, then %+v, %v", first, again, err)
	}
	if said, err := IDRange(state, spec.IDRange{Base: 300000}); err != nil || said.Base != 300000 || said.Size != idRangeSize {
		t.Errorf("%+v, %v", said, err)
	}
	if err := os.WriteFile(filepath.Join(state, idRangeFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := IDRange(state, spec.IDRange{}); err == nil {
		t.Errorf("a damaged record gave %+v: what was made would belong to nobody", got)
	}
}

// An agent that is not root has no ids but its subordinate ones.
func TestRangeOfAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	has := runtime.IDRange{Base: 200_000, Size: 2 * idRangeSize}
	for want, got := range map[spec.IDRange]runtime.IDRange{
		{}: {Base: 200_000, Size: idRangeSize}, {Base: 265_536}: {Base: 265_536, Size: idRangeSize}, {Base: 200_010, Size: 10}: {Base: 200_010, Size: 10},
	} {
		if ids, err := among(has, want); err != nil || ids != got {
			t.Errorf("%+v: %+v, %v", want, ids, err)
		}
	}
	for _, want := range []spec.IDRange{{Base: 1}, {Base: 199_999, Size: 10}, {Base: 265_537}, {Base: 300_000}} {
		if ids, err := among(has, want); err == nil || !strings.Contains(err.Error(), "spec.sandbox.ids") {
			t.Errorf("%+v: %+v, %v", want, ids, err)
		}
	}
}

// Where the agent is not root, code of a package that ran outside of a sandbox would be
// the agent's own user.
func TestNoBuildOutsideOfASandbox(t *testing.T) {
	t.Parallel()
	task := &clearml.Task{Script: clearml.Script{EntryPoint: "a.py", Requirements: clearml.Requirements{Pip: clearml.Lines{"six"}}}}
	cmd, err := parseScript(task.Script)
	if err != nil {
		t.Fatal(err)
	}
	n := needs{task: task, cmd: cmd, owner: identity{Name: "root", UID: 100_000, GID: 100_000, Later: true}}
	if n.packages, err = packagesOf(task, cmd, spec.PackageManager{Type: spec.ManagerPip}); err != nil {
		t.Fatal(err)
	}
	if req, _, err := n.request(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "outside of one") {
		t.Errorf("%+v, %v", req, err)
	}
}

// A user by name is one of the image's own; no link leads out of a layer, and a FIFO
// holds nobody up.
func TestUserOfAnImage(t *testing.T) {
	t.Parallel()
	lower, upper, odd := t.TempDir(), t.TempDir(), t.TempDir()
	for _, dir := range []string{lower, upper, odd} {
		if err := os.Mkdir(filepath.Join(dir, "etc"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	passwd := "root:x:0:0::/root:/bin/sh\ntrain:x:1000:1001::/:/bin/sh\n"
	if err := os.WriteFile(filepath.Join(lower, "etc", "passwd"), []byte(passwd), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(lower, "etc", "group"), []byte("data:x:50:train\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", filepath.Join(upper, "etc", "passwd")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(odd, "etc", "passwd"), 0o644); err != nil {
		t.Fatal(err)
	}
	i := &Image{Ref: "image", Layers: []string{odd, upper, lower}}
	for want, ids := range map[string]string{"": "0:0 []", "train": "1000:1001 [50]", "1000": "1000:1001 [50]", "7:8": "7:8 []", "root": "0:0 []", "train:data": "1000:50 []"} {
		u, err := i.userOf(want)
		if err != nil {
			t.Errorf("%q: %v", want, err)
			continue
		}
		if got := fmt.Sprintf("%d:%d %v", u.Uid, u.Gid, u.Sgids); got != ids {
			t.Errorf("%q is %s, not %s", want, got, ids)
		}
	}
	if ids, err := i.groupsOf([]string{"data", "77"}); err != nil || !slices.Contains(ids, 50) || !slices.Contains(ids, 77) {
		t.Errorf("groups %v, %v", ids, err)
	}
	if ids, err := i.groupsOf([]string{"video"}); err == nil || !strings.Contains(err.Error(), "write groups that it has") {
		t.Errorf("groups %v, %v", ids, err)
	}
	if u, err := i.userOf("nobody-here"); err == nil || !strings.Contains(err.Error(), "write a user that it has") {
		t.Errorf("%+v, %v", u, err)
	}
	i.User = "train"
	if u, err := i.userOf(""); err != nil || u.Uid != 1000 {
		t.Errorf("the image's own user: %+v, %v", u, err)
	}
}

// Of a folder of devices a task gets all, and nothing else that is there.
func TestDevicesOfAFolder(t *testing.T) {
	t.Parallel()
	got, err := devicesOf([]dockerargs.Device{{Path: "/dev/null", InContainer: "/dev/x/null", Permissions: "r"}, {Path: "/dev/pts", InContainer: "/dev/p", Permissions: "rw"}})
	if err != nil || len(got) < 2 || got[0] != (runtime.Device{Path: "/dev/null", Target: "/dev/x/null", Access: "r"}) {
		t.Fatalf("%+v, %v", got, err)
	}
	if !slices.Contains(got, runtime.Device{Path: "/dev/pts/ptmx", Target: "/dev/p/ptmx", Access: "rw"}) {
		t.Errorf("%+v", got)
	}
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := devicesOf([]dockerargs.Device{{Path: folder, InContainer: "/dev/f", Permissions: "rw"}}); err != nil || len(got) != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := devicesOf([]dockerargs.Device{{Path: "/dev/nothing-here", InContainer: "/dev/f", Permissions: "rw"}}); err == nil {
		t.Error("a device that is not there is none")
	}
}

// Credentials of the operator are no task's to mount, wherever they lie.
func TestSecretFilesAreNeverMounted(t *testing.T) {
	t.Parallel()
	node := &spec.Node{}
	node.Spec.Server.CredentialsFile = "/data/server"
	p := &Pool{node: node}
	w := spec.Worker{Sandbox: spec.Sandbox{CredentialsFile: "/data/docker.json", Registries: []spec.Registry{{CredentialsFile: "/data/registry.json"}}}}
	w.PackageManager.IndexCredentialsFile = "/data/netrc"
	got := strings.Join(p.secretFiles(spec.Git{CredentialsFile: "/data/git"}, w), " ")
	for _, file := range []string{"/data/server", "/data/docker.json", "/data/registry.json", "/data/netrc", "/data/git"} {
		if !strings.Contains(got, file) {
			t.Errorf("%s is not among %s", file, got)
		}
	}
}
