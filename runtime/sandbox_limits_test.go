package runtime

import (
	"context"
	"fmt"
	goruntime "runtime"
	"strings"
	"testing"
	"time"
)

// needLimits skips where nothing can be limited: for a plain user without a
// delegated cgroup.
func needLimits(t *testing.T) {
	t.Helper()
	h, err := probed()
	must(t, err)
	if r := find(h.Sandbox, SandboxMemory); !r.Works {
		t.Skipf("this user has no cgroup of its own to limit: %s", r.Reason)
	}
}

// eat is a shell that fills memory by a growing variable.
const eat = `x=0123456789abcdef; while :; do x="$x$x"; done`

func TestSandboxMemory(t *testing.T) {
	needLimits(t)
	for _, tt := range []struct{ name, script, reason string }{
		{"the task", eat, OutOfMemory},
		{"a child, hidden by an exit code", `sh -c '` + eat + `'; exit 3`, OutOfMemory},
		{"a child, and the task ends well", `sh -c '` + eat + `'; exit 0`, Exited},
		{"nothing", `exit 3`, Exited},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := boxConfig(t, tt.script, busyboxLayer(t))
			cfg.Sandbox.Resources.Memory = 48 << 20
			exit := wait(t, start(t, cfg))
			if exit.Reason != tt.reason || exit.Reason == OutOfMemory && !strings.Contains(exit.Message, "50331648") {
				t.Errorf("ended as %+v", exit)
			}
		})
	}
}

func TestSandboxLimits(t *testing.T) {
	needLimits(t)
	root := busyboxLayer(t)
	cfg := boxConfig(t, `ulimit -n; ulimit -c; df -kP /dev/shm | tail -1 | awk '{print $2}'; df -kP / | tail -1 | awk '{print $2}'; nproc`, root)
	cfg.Sandbox.Resources = Resources{PIDs: 100, CPUs: 0.5, CPUShares: 512, Memory: 64 << 20, Swap: -1}
	wantCPUs := fmt.Sprint(goruntime.NumCPU())
	if h := must2(probed())(t); find(h.Sandbox, SandboxCPUSet).Works {
		cfg.Sandbox.Resources.CPUSet, wantCPUs = "0", "1"
	}
	if h := must2(probed())(t); find(h.Sandbox, SandboxIO).Works {
		cfg.Sandbox.Resources.IOWeight = 100
	}
	cfg.Sandbox.Ulimits = []Ulimit{{Name: "nofile", Soft: 123, Hard: 456}, {Name: "core", Soft: 0, Hard: 0}}
	cfg.Sandbox.ShmSize, cfg.Sandbox.UpperSize = 12<<20, 34<<20
	exit, out := runToEnd(t, cfg)
	if want := "123\n0\n12288\n34816\n" + wantCPUs + "\n"; exit.Code != 0 || out[StreamStdout] != want {
		t.Errorf("%+v, wrote %q, want %q", exit, out, want)
	}
	cfg = boxConfig(t, `(i=0; while [ $i -lt 60 ]; do i=$((i+1)); sleep 100 & done); set -- /proc/[0-9]*; [ $# -lt 30 ] && echo few`, root)
	cfg.ID, cfg.Sandbox.Resources = cfg.ID+"-pids", Resources{PIDs: 8}
	exit, out = runToEnd(t, cfg)
	if out[StreamStdout] != "few\n" || !strings.Contains(out[StreamStderr], "can't fork") {
		t.Errorf("%+v, wrote %q", exit, out)
	}
}

// A spare sandbox gets the limits of its run, and they can be looked at while it
// runs.
func TestSandboxUsage(t *testing.T) {
	task := staying(t, nil)
	u, err := task.Usage()
	must(t, err)
	if u.Memory <= 0 || u.PIDs < 2 || u.Exact != (len(task.Handle().Groups) > 0) {
		t.Errorf("it uses %+v", u)
	}
	code, err := Exec(context.Background(), task.Dir(), ExecConfig{Args: sh(`i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done`), Env: []string{"PATH=/bin"}})
	must(t, err)
	after, err := task.Usage()
	must(t, err)
	if code != 0 || after.CPU <= u.CPU && after.Exact {
		t.Errorf("it used %+v, then %+v", u, after)
	}
}

func TestSpareGetsTheLimitsOfItsRun(t *testing.T) {
	needLimits(t)
	cfg := boxConfig(t, eat, busyboxLayer(t))
	s := prepare(t, cfg)
	cfg.Sandbox.Resources.Memory = 48 << 20
	task, err := s.Start(context.Background(), cfg)
	must(t, err)
	if exit := wait(t, task); exit.Reason != OutOfMemory {
		t.Errorf("ended as %+v", exit)
	}
}

func TestSandboxTimeLimit(t *testing.T) {
	cfg := boxConfig(t, `trap "" TERM; while :; do sleep 1; done`, busyboxLayer(t))
	cfg.MaxRuntime, cfg.Grace = 200*time.Millisecond, 50*time.Millisecond
	// On a slow machine it ignores no SIGTERM yet when its time is over.
	if exit := wait(t, start(t, cfg)); exit.Reason != TimedOut || exit.Signal == "" {
		t.Errorf("ended as %+v", exit)
	}
}
