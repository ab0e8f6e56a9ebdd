package runtime

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentctl/runtime/internal/record"
)

// nastyBox runs a script that leaves a line in the run's own folder each time it
// is started, and a process behind that ignores what can be ignored.
func nastyBox(t *testing.T) (cfg Config, runs func() int, token string) {
	t.Helper()
	cfg = boxConfig(t, `echo run >> "$0/runs"; trap "" TERM HUP INT; setsid sh -c 'trap "" TERM HUP INT; echo staying; while :; do sleep 1; done' "$1" & while [ "$2" = stay ]; do sleep 1; done; exit 7`, busyboxLayer(t))
	home := newDir(t)
	must(t, os.Chmod(home, 0o777))
	token = cfg.Dir + "/token"
	cfg.Args = append(cfg.Args, home, token)
	cfg.Keep = []string{home}
	return cfg, func() int {
		data, err := os.ReadFile(home + "/runs")
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return strings.Count(string(data), "run")
	}, token
}

// boxGone checks that nothing is left of a sandbox: no process that sees its
// mounts, and no cgroup.
func boxGone(t *testing.T, h Handle, token string) {
	t.Helper()
	if left := running(t, token); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	eventually(t, "nothing sees its mounts", func() bool {
		pids, err := marked(h)
		must(t, err)
		return len(pids) == 0
	})
	noGroups(t, h.Groups)
}

func TestSandboxShimDiesAtEachStep(t *testing.T) {
	for _, tt := range []struct {
		point, reason string
		runs          int // -1: once or not at all
	}{
		{"shim.before-handle", "", 0},
		{"shim.handle", Lost, 0},
		{"sandbox.staged", Lost, 0},
		{"sandbox.created", Lost, 0},
		{"shim.boxed", Lost, 0},
		{"sandbox.moved", Lost, 0},
		{"shim.started", Lost, -1},
		{"shim.before-exit", Lost, 1},
		{"shim.exit", Exited, 1},
	} {
		t.Run(tt.point, func(t *testing.T) {
			cfg, runs, token := nastyBox(t)
			t.Setenv("AGENTCTL_CRASH_AT", tt.point)
			task, err := launcher(realShim(t)).Start(context.Background(), cfg)
			if tt.reason == "" {
				neverRan(t, cfg, err)
				return
			}
			must(t, err)
			if exit := wait(t, task); exit.Reason != tt.reason {
				t.Errorf("ended as %+v", exit)
			}
			if n := runs(); n != tt.runs && (tt.runs >= 0 || n > 1) {
				t.Errorf("the task was started %d times", n)
			}
			boxGone(t, task.Handle(), token)
		})
	}
}

// Dying at any step between spare and run, the shim leaves a run that is lost or
// was never started, and no spare.
func TestSpareDiesAtEachStep(t *testing.T) {
	for _, point := range []string{"shim.handle", "sandbox.created", "shim.boxed", "shim.left-spare", "shim.adopted", "sandbox.moved", "shim.started"} {
		t.Run(point, func(t *testing.T) {
			cfg, runs, token := nastyBox(t)
			t.Setenv("AGENTCTL_CRASH_AT", point)
			s := prepare(t, cfg)
			h, err := record.ReadHandle(s.Dir())
			must(t, err)
			task, err := s.Start(context.Background(), cfg)
			if err == nil {
				if exit := wait(t, task); exit.Reason != Lost {
					t.Errorf("ended as %+v", exit)
				}
			}
			if runs() > 1 {
				t.Errorf("the task was started %d times", runs())
			}
			boxGone(t, *h, token)
			if _, err := os.Stat(s.Dir()); !os.IsNotExist(err) && err != nil {
				t.Errorf("the spare's folder: %v", err)
			}
		})
	}
}

// The agent that made a spare sandbox dies: the sandbox goes by itself, and one
// that can't is swept by the next agent.
func TestSpareOfADeadAgent(t *testing.T) {
	cfg, _, token := nastyBox(t)
	s := prepare(t, cfg)
	must(t, s.Ready(context.Background()))
	h, err := record.ReadHandle(s.Dir())
	must(t, err)
	must(t, s.conn.Close())
	eventually(t, "the shim ends", func() bool {
		var ws syscall.WaitStatus
		pid, _ := syscall.Wait4(h.PID, &ws, syscall.WNOHANG, nil)
		return pid == h.PID
	})
	boxGone(t, *h, token)
	must(t, launcher(realShim(t)).Discard(context.Background(), s.Dir()))

	again := prepare(t, cfg)
	must(t, again.Ready(context.Background()))
	h, err = record.ReadHandle(again.Dir())
	must(t, err)
	must(t, syscall.Kill(h.PID, syscall.SIGKILL))
	must(t, launcher(realShim(t)).Discard(context.Background(), again.Dir()))
	must(t, again.Remove()) // the zombie is ours
	boxGone(t, *h, token)
}

func TestSandboxIsStopped(t *testing.T) {
	cfg, _, token := nastyBox(t)
	cfg.Args = append(cfg.Args, "stay")
	task := start(t, cfg)
	untilHidden(t, cfg)
	must(t, task.Stop(50*time.Millisecond, "aborted by the user"))
	if exit := wait(t, task); exit.Reason != Stopped || exit.Signal != "SIGKILL" || exit.Message != "aborted by the user" {
		t.Errorf("ended as %+v", exit)
	}
	boxGone(t, task.Handle(), token)
}

func TestSandboxGetsItsSignal(t *testing.T) {
	cfg := boxConfig(t, `trap 'echo bye; exit 9' INT; echo staying; while :; do sleep 0.1; done`, busyboxLayer(t))
	cfg.Sandbox.StopSignal = "SIGINT"
	task := start(t, cfg)
	untilHidden(t, cfg)
	must(t, task.Stop(time.Minute, "enough"))
	if exit := wait(t, task); exit.Reason != Stopped || exit.Code != 9 {
		t.Errorf("ended as %+v", exit)
	}
}

// A killed shim takes its sandbox with it, and a killed agent leaves it running.
func TestSandboxOutlivesTheAgentOnly(t *testing.T) {
	cfg, runs, token := nastyBox(t)
	cfg.Args = append(cfg.Args, "stay")
	agentDies(t, cfg, "started")
	untilHidden(t, cfg)
	task, err := Attach(cfg.Dir)
	must(t, err)
	if n := runs(); n != 1 {
		t.Errorf("the task was started %d times", n)
	}
	must(t, syscall.Kill(task.PID(), syscall.SIGKILL))
	if exit := wait(t, task); exit.Reason != Lost {
		t.Errorf("ended as %+v", exit)
	}
	boxGone(t, task.Handle(), token)
}
