package runtime

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentctl/internal/fsx"
	"agentctl/runtime/internal/contain"
	"agentctl/runtime/internal/record"
)

// hasty is a launcher that waits no time for shims that are to end, and what it says.
func hasty(t *testing.T) (*Launcher, *bytes.Buffer) {
	t.Helper()
	var said bytes.Buffer
	l := NewLauncher(realShim(t), allRungs(), slog.New(slog.NewTextHandler(&said, nil)))
	l.patience = 50 * time.Millisecond
	return l, &said
}

// A spare sandbox whose shim hangs ends with the agent all the same.
func TestSpareOfAShimThatHangs(t *testing.T) {
	cfg := boxConfig(t, "true", busyboxLayer(t))
	cfg.ID = "spare"
	l, said := hasty(t)
	s, err := l.Prepare(context.Background(), cfg)
	must(t, err)
	must(t, s.Ready(context.Background()))
	h, err := record.ReadHandle(s.Dir())
	must(t, err)
	must(t, syscall.Kill(h.PID, syscall.SIGSTOP))
	must(t, s.Remove())
	if !strings.Contains(said.String(), "level=WARN") || !strings.Contains(said.String(), "run=spare") {
		t.Errorf("said %q", said)
	}
	boxGone(t, *h, cfg.Dir)
	if _, err := os.Stat(s.Dir()); !os.IsNotExist(err) {
		t.Errorf("its folder is left: %v", err)
	}
}

// deaf is the folder of a shim that does not do what it is asked for.
func deaf(t *testing.T) (dir string, ended <-chan struct{}) {
	t.Helper()
	dir = newDir(t)
	lock, err := fsx.TryLock(filepath.Join(dir, record.LockFile))
	must(t, err)
	defer lock.Close()
	cmd := exec.Command("/bin/sh", "-c", `trap "" TERM; echo; read nothing`)
	cmd.ExtraFiles = []*os.File{lock.File()}
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() { _ = in.Close() })
	_, err = out.Read(make([]byte, 1))
	must(t, err)
	st, err := contain.ReadStat(cmd.Process.Pid)
	must(t, err)
	boot, err := contain.BootID()
	must(t, err)
	must(t, fsx.ReplaceJSON(filepath.Join(dir, record.HandleFile), Handle{
		Version: record.Version, ID: "deaf", PID: st.PID, StartTicks: st.Start, BootID: boot, Nonce: strings.Repeat("deaf", 8), Containment: Subreaper, MountNS: MountNone,
	}, 0o600))
	dead := make(chan struct{})
	go func() { defer close(dead); _ = cmd.Wait() }()
	return dir, dead
}

// What an earlier agent left ends, whatever its shim does.
func TestDiscardOfAShimThatHangs(t *testing.T) {
	dir, dead := deaf(t)
	l, said := hasty(t)
	must(t, l.Discard(context.Background(), dir))
	select {
	case <-dead:
	case <-time.After(patience):
		t.Error("its shim lives")
	}
	if !strings.Contains(said.String(), "level=WARN") || !strings.Contains(said.String(), "run=deaf") {
		t.Errorf("said %q", said)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("its folder is left: %v", err)
	}
}
