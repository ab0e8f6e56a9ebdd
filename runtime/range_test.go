package runtime

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// inRange is a program that EnterRange starts: it gives a folder to user 7 there, or
// removes one, or runs a sandbox.
func inRange(args []string) int {
	err := AwaitRange()
	switch {
	case err != nil:
	case args[0] == "give":
		if err = os.WriteFile(args[1]+"/file", []byte("x"), 0o600); err == nil {
			err = errors.Join(os.Lchown(args[1]+"/file", 7, 8), os.Lchown(args[1], 7, 8))
		}
	case args[0] == "remove":
		err = os.RemoveAll(args[1])
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}

// subordinate skips where this user has no ids of his own, and is not root.
func subordinate(t *testing.T) IDRange {
	t.Helper()
	if os.Geteuid() == 0 {
		t.Skip("root needs no range of its own")
	}
	h, err := probed()
	must(t, err)
	if r := find(h.Sandbox, SandboxWorks); !r.Works {
		t.Skipf("there are no sandboxes on this host: %s", r.Reason)
	}
	ids, _, err := SubIDs()
	must(t, err)
	return ids
}

func TestRangeIsEntered(t *testing.T) {
	ids := subordinate(t)
	dir := filepath.Join(newDir(t), "d")
	must(t, os.Mkdir(dir, 0o700))
	enter := func(args ...string) {
		t.Helper()
		cmd := exec.Command(self(), append([]string{"play", "in-range"}, args...)...)
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		must(t, EnterRange(cmd, ids))
		if err := cmd.Wait(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out.String())
		}
	}
	enter("give", dir)
	info, err := os.Lstat(dir)
	must(t, err)
	if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != ids.Base+6 || int(st.Gid) != ids.Base+7 {
		t.Errorf("it belongs to %d:%d, the range begins at %d", st.Uid, st.Gid, ids.Base)
	}
	if _, err := os.ReadFile(dir + "/file"); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("read by its neighbour: %v", err)
	}
	if err := RemoveAll(dir); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("removed by its neighbour: %v", err)
	}
	enter("remove", dir)
	if _, err := os.Lstat(dir); !os.IsNotExist(err) {
		t.Errorf("it is there: %v", err)
	}
}

func TestRangeOfOthersIsRefused(t *testing.T) {
	ids := subordinate(t)
	for _, r := range []IDRange{{Base: ids.Base - 1, Size: 2}, {Base: ids.Base, Size: ids.Size + 1}, {Base: 0, Size: 1}, {Base: ids.Base, Size: 0}} {
		cmd := exec.Command(self(), "play", "in-range", "remove", "/nowhere")
		if err := EnterRange(cmd, r); err == nil || cmd.Process != nil {
			t.Errorf("%+v: %v", r, err)
			_ = cmd.Wait()
		}
	}
	// Who waits for ids that never come does not go on as somebody else.
	cmd := exec.Command(self(), "play", "in-range", "remove", "/nowhere")
	cmd.Env = []string{rangeVar + "=0"}
	if out, err := cmd.Output(); err == nil || !strings.Contains(string(out), "nobody is mapped") {
		t.Errorf("%v, %q", err, out)
	}
}

// A task's own folder is given to it by the shim; the agent's files beside it are not.
func TestSandboxOwnFolders(t *testing.T) {
	cfg := boxConfig(t, `id -u; cat "$0/home/f" && echo more > "$0/home/sub/g" && cat "$0/kept" && echo x > "$0/kept" || echo refused`, busyboxLayer(t))
	cfg.UID, cfg.GID = 1000, 1000
	base := newDir(t)
	must(t, os.MkdirAll(base+"/home/sub", 0o700))
	must(t, os.WriteFile(base+"/home/f", []byte("mine\n"), 0o600))
	must(t, os.WriteFile(base+"/kept", []byte("kept\n"), 0o644))
	must(t, os.Symlink("../kept", base+"/home/link"))
	cfg.Args = append(cfg.Args, base)
	cfg.Keep, cfg.Own = []string{base + "/home", base + "/kept"}, []string{base + "/home"}
	exit, out := runToEnd(t, cfg)
	if exit.Code != 0 || out[StreamStdout] != "1000\nmine\nkept\nrefused\n" {
		t.Errorf("%+v, %q", exit, out)
	}
	info, err := os.Lstat(base + "/kept")
	must(t, err)
	if st := info.Sys().(*syscall.Stat_t); int(st.Uid) != os.Geteuid() {
		t.Errorf("the link in its folder gave away %+v", st)
	}
	if os.Geteuid() != 0 {
		remove := exec.Command(self(), "play", "in-range", "remove", base+"/home")
		must(t, EnterRange(remove, cfg.Sandbox.IDs))
		must(t, remove.Wait())
	}
}

func TestOutsideIsToldToTheRange(t *testing.T) {
	l := launcher(realShim(t))
	o, err := l.Outside()
	must(t, err)
	in := o.Inside(slog.New(slog.DiscardHandler))
	cfg := boxConfig(t, "true", layer(t, nil))
	cfg.Sandbox.IDs, cfg.Sandbox.Shifted = IDRange{Base: 1, Size: 100}, true
	run, err := in.order(cfg, 0)
	must(t, err)
	if !run.Rootless || run.Mapped != nil || run.Sandbox.IDs.Base != 1 || (run.CgroupPath == "") != (o.Groups == "") {
		t.Errorf("%+v", run)
	}
	cfg.Sandbox.Network.Mode = NetworkPrivate
	if _, err := in.Start(context.Background(), cfg); err == nil {
		t.Error("a private network")
	}
}

func TestHostKeepsWhatItCan(t *testing.T) {
	h := Host{Sandbox: []Rung{{Name: SandboxWorks, Works: true}, {Name: SandboxIDMap, Works: true}, {Name: SandboxCPU, Works: true}, {Name: SandboxMemory, Reason: "none"}}}
	kept, lost := h.Keepable(Resources{Memory: 1 << 20, Swap: 1, CPUs: 2, PIDs: 3})
	if kept.Memory != 0 || kept.Swap != 0 || kept.PIDs != 0 || kept.CPUs != 2 || strings.Join(lost, ", ") != "memory and swap, the number of processes" {
		t.Errorf("%+v, %q", kept, lost)
	}
	for layers, maps := range map[string]bool{"": true, LayersMapped: true, LayersStored: false} {
		if got, err := h.Only("", "", layers); err != nil || got.MapsOwners() != maps || !h.MapsOwners() {
			t.Errorf("%q: %v, %v", layers, got.MapsOwners(), err)
		}
	}
	stored, err := h.Only("", "", LayersStored)
	must(t, err)
	for _, layers := range []string{"painted", LayersMapped} {
		if got, err := stored.Only("", "", layers); err == nil {
			t.Errorf("%q: %+v", layers, got)
		}
	}
}
