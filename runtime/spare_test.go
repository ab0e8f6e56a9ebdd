package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"agentctl/runtime/internal/record"
)

// fittingBox is a spare sandbox of a disk's upper folder and files of its own, and
// the run that is to be started in it, which has all of that elsewhere.
func fittingBox(t *testing.T, script string) (s *Spare, cfg Config) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("in a layer of this user's own the range makes no files")
	}
	cfg = boxConfig(t, script, busyboxLayer(t))
	own := func(dir string) *Sandbox {
		sb := *cfg.Sandbox
		sb.Hosts, sb.ResolvConf, sb.Upper = dir+"/hosts", dir+"/resolv.conf", dir+"/upper/root"
		must(t, os.WriteFile(sb.Hosts, []byte("127.0.0.1 localhost\n"), 0o644))
		must(t, os.WriteFile(sb.ResolvConf, []byte("search example.org\n"), 0o644))
		must(t, os.MkdirAll(sb.Upper, 0o700))
		return &sb
	}
	ahead := cfg
	ahead.Dir, ahead.ID = newDir(t), "spare"
	ahead.Sandbox = own(ahead.Dir)
	cfg.Sandbox = own(cfg.Dir)
	s, err := launcher(realShim(t)).Prepare(context.Background(), ahead)
	must(t, err)
	return s, cfg
}

// What lies elsewhere for the run than for the spare sandbox is the run's when it
// was started, and nothing is left of the spare.
func TestSpareMovesToItsRun(t *testing.T) {
	s, cfg := fittingBox(t, `cat /etc/hosts /etc/resolv.conf; echo kept > /kept; hostname; ls / | tr '\n' ' '`)
	spare := s.Dir()
	task, err := s.Start(context.Background(), cfg)
	must(t, err)
	exit, out := wait(t, task), readAll(t, cfg.Dir)
	want := "127.0.0.1 localhost\nsearch example.org\nt-TestSpareMovesToItsRun\nbin dev etc kept proc root sys tmp usr "
	if exit.Code != 0 || out[StreamStdout] != want {
		t.Errorf("ended as %+v with %q, want %q", exit, out, want)
	}
	if data, err := os.ReadFile(filepath.Join(cfg.Sandbox.Upper, "upper", "kept")); err != nil || string(data) != "kept\n" {
		t.Errorf("in the upper folder: %q, %v", data, err)
	}
	if _, err := os.Stat(spare); !os.IsNotExist(err) {
		t.Errorf("the spare's folder is left: %v", err)
	}
}

// A spare sandbox takes no run that needs another one; that run starts without it.
func TestSpareFits(t *testing.T) {
	s, cfg := fittingBox(t, "echo ran")
	must(t, s.Fits(cfg))
	for name, change := range map[string]func(*Config){
		"none":     func(c *Config) { c.Sandbox = nil },
		"shm":      func(c *Config) { c.Sandbox.ShmSize = 1 << 20 },
		"memory":   func(c *Config) { c.Sandbox.Upper = "" },
		"layers":   func(c *Config) { c.Sandbox.Layers = []string{"/other"} },
		"network":  func(c *Config) { c.Sandbox.Network.Mode = NetworkNone },
		"user":     func(c *Config) { c.UID = 1000 },
		"hidden":   func(c *Config) { c.Hide = []string{"/srv"} },
		"hosts":    func(c *Config) { c.Sandbox.Hosts = c.Sandbox.ResolvConf },
		"resolver": func(c *Config) { c.Sandbox.ResolvConf = "" },
	} {
		other := cfg
		sb := *cfg.Sandbox
		other.Sandbox = &sb
		change(&other)
		if err := s.Fits(other); !errors.Is(err, ErrUnfit) {
			t.Errorf("%s: %v", name, err)
		}
	}
	limited := cfg
	sb := *cfg.Sandbox
	sb.Resources.PIDs = 50
	limited.Sandbox = &sb
	if err := s.Fits(limited); err != nil {
		t.Errorf("with a limit, which is set late: %v", err)
	}
	unfit := cfg
	unfit.UID = 7
	if _, err := s.Start(context.Background(), unfit); !errors.Is(err, ErrUnfit) {
		t.Errorf("started: %v", err)
	}
	exit, out := runToEnd(t, cfg)
	if exit.Code != 0 || !strings.Contains(out[StreamStdout], "ran") {
		t.Errorf("without the spare sandbox: %+v, %q", exit, out)
	}
}

// mute is a shim of which nobody hears that it is ready, as of one on a busy machine.
func mute(t *testing.T) string {
	t.Helper()
	path := filepath.Join(newDir(t), "shim")
	must(t, os.WriteFile(path, fmt.Appendf(nil, "#!/bin/sh\nexec %s \"$@\" 9>&4 4>/dev/null\n", realShim(t)), 0o755))
	return path
}

// The agent ends when a shim has recorded itself and before that was heard.
func TestSpareIsGivenUpAtOnce(t *testing.T) {
	cfg := boxConfig(t, "true", busyboxLayer(t))
	cfg.ID = "spare"
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	gone := errors.New("the agent ends")
	l := launcher(mute(t))
	ended := make(chan error, 1)
	go func() {
		_, err := l.Prepare(ctx, cfg)
		ended <- err
	}()
	var h *Handle
	eventually(t, "the shim records itself", func() (ok bool) {
		h, _ = record.ReadHandle(cfg.Dir)
		return h != nil
	})
	cancel(gone)
	select {
	case err := <-ended:
		if !errors.Is(err, gone) {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("it waits for itself")
	}
	boxGone(t, *h, cfg.Dir)
}
