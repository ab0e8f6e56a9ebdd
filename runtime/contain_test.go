package runtime

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentctl/runtime/internal/contain"
)

// nastyConfig runs a task whose leftovers carry the token that is returned.
func nastyConfig(t *testing.T, containment, mount string, args ...string) (Config, string) {
	t.Helper()
	cfg := newConfig(t)
	token := cfg.Dir + "/token"
	cfg.Args = append([]string{self(), "play", "nasty", token}, args...)
	cfg.Containment, cfg.MountNS = containment, mount
	return cfg, token
}

// untilHidden waits until the leftover process of a nasty task is there.
func untilHidden(t *testing.T, cfg Config) {
	t.Helper()
	eventually(t, "the task hides a process", func() bool {
		data, err := os.ReadFile(cfg.Dir + "/console")
		return err == nil && strings.Contains(string(data), "staying")
	})
}

func gone(t *testing.T, task *Task, token string) {
	t.Helper()
	eventually(t, "all processes are dead", func() bool { return len(running(t, token)) == 0 })
	if dir := task.Handle().Cgroup; dir != "" {
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("the cgroup %s is left: %v", dir, err)
		}
	}
}

func eachContainment(t *testing.T, test func(t *testing.T, containment string)) {
	for _, containment := range []string{Cgroup2, Cgroup1, PIDNS, Subreaper} {
		if has(t, containments, containment) {
			t.Run(containment, func(t *testing.T) { test(t, containment) })
		}
	}
}

func TestLeftoversAreKilled(t *testing.T) {
	eachContainment(t, func(t *testing.T, containment string) {
		cfg, token := nastyConfig(t, containment, MountNone)
		task := start(t, cfg)
		exit := wait(t, task)
		if exit.Code != 7 || exit.Reason != Exited {
			t.Errorf("ended as %+v", exit)
		}
		// Not eventually: the end may be told only when nothing is left.
		if left := running(t, token); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
		gone(t, task, token)
	})
}

func TestStopEndsTheTermIgnoring(t *testing.T) {
	eachContainment(t, func(t *testing.T, containment string) {
		cfg, token := nastyConfig(t, containment, MountNone, "stay")
		task := start(t, cfg)
		untilHidden(t, cfg)
		must(t, task.Stop(50*time.Millisecond, "aborted by the user"))
		exit := wait(t, task)
		if exit.Reason != Stopped || exit.Signal != "SIGKILL" || exit.Code != 137 || exit.Message != "aborted by the user" {
			t.Errorf("ended as %+v", exit)
		}
		if left := running(t, token); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
		gone(t, task, token)
	})
}

// A killed shim takes the task's main process with it at once, and what hides is
// swept by whoever sees that the shim is gone.
func TestKilledShim(t *testing.T) {
	eachContainment(t, func(t *testing.T, containment string) {
		cfg, token := nastyConfig(t, containment, MountNone, "stay")
		task := start(t, cfg)
		untilHidden(t, cfg)
		must(t, syscall.Kill(task.PID(), syscall.SIGKILL))
		exit := wait(t, task)
		if exit.Reason != Lost || exit.Code != -1 || exit.Message == "" || exit.Containment != containment {
			t.Errorf("ended as %+v", exit)
		}
		if left := running(t, token); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
		gone(t, task, token)
		again, err := Attach(cfg.Dir)
		must(t, err)
		if e := wait(t, again); e.Reason != Lost || !e.Ended.Equal(exit.Ended) {
			t.Errorf("told again as %+v, was %+v", e, exit)
		}
	})
}

// With nobody watching, the main process still dies at once with its shim, and
// the next agent sweeps.
func TestKilledShimWithoutAgent(t *testing.T) {
	eachContainment(t, func(t *testing.T, containment string) {
		cfg, token := nastyConfig(t, containment, MountNone, "stay")
		task := start(t, cfg)
		untilHidden(t, cfg)
		task.Detach()
		must(t, syscall.Kill(task.PID(), syscall.SIGKILL))
		eventually(t, "the main process dies", func() bool {
			for _, p := range running(t, token) {
				if strings.Contains(p, "nasty") {
					return false
				}
			}
			return true
		})
		again, err := Attach(cfg.Dir)
		must(t, err)
		if exit := wait(t, again); exit.Reason != Lost {
			t.Errorf("ended as %+v", exit)
		}
		gone(t, task, token)
	})
}

func TestStopReachesAllProcesses(t *testing.T) {
	eachContainment(t, func(t *testing.T, containment string) {
		cfg := newConfig(t, sh(`trap 'echo main; exit 4' TERM; setsid sh -c 'trap "echo other; exit" TERM; echo up; while :; do sleep 0.1; done' & while :; do wait; done`)...)
		cfg.Containment = containment
		task := start(t, cfg)
		eventually(t, "it is up", func() bool {
			data, err := os.ReadFile(cfg.Dir + "/console")
			return err == nil && strings.Contains(string(data), "up")
		})
		must(t, task.Stop(time.Minute, "enough"))
		exit := wait(t, task)
		out := readAll(t, cfg.Dir)[StreamStdout]
		if exit.Reason != Stopped || exit.Code != 4 || exit.Signal != "" || !strings.Contains(out, "main") {
			t.Errorf("ended as %+v with %q", exit, out)
		}
	})
}

func TestMaxRuntime(t *testing.T) {
	eachContainment(t, func(t *testing.T, containment string) {
		cfg, token := nastyConfig(t, containment, MountNone, "stay")
		cfg.MaxRuntime, cfg.Grace = 200*time.Millisecond, 50*time.Millisecond
		task := start(t, cfg)
		exit := wait(t, task)
		// On a slow machine it ignores no SIGTERM yet when its time is over.
		if exit.Reason != TimedOut || exit.Signal == "" || !strings.Contains(exit.Message, "200ms") {
			t.Errorf("ended as %+v", exit)
		}
		gone(t, task, token)
	})
}

// The grace may shrink, never grow.
func TestStopTwice(t *testing.T) {
	cfg, token := nastyConfig(t, Subreaper, MountNone, "stay")
	task := start(t, cfg)
	untilHidden(t, cfg)
	must(t, task.Stop(time.Hour, "first"))
	must(t, task.Stop(2*time.Hour, "second"))
	must(t, task.Kill())
	exit := wait(t, task)
	if exit.Reason != Stopped || exit.Signal != "SIGKILL" {
		t.Errorf("ended as %+v", exit)
	}
	gone(t, task, token)
	must(t, task.Stop(0, "after the end"))
}

// Somebody's plain SIGTERM to the shim stops the task as its configuration says.
func TestTermToTheShim(t *testing.T) {
	cfg := newConfig(t, "/bin/sleep", "1000")
	task := start(t, cfg)
	must(t, syscall.Kill(task.PID(), syscall.SIGHUP))
	must(t, syscall.Kill(task.PID(), syscall.SIGTERM))
	exit := wait(t, task)
	if exit.Reason != Stopped || exit.Signal != "SIGTERM" {
		t.Errorf("ended as %+v", exit)
	}
}

// A stopped (SIGSTOP) task and a stopped shim are ended too.
func TestStoppedProcesses(t *testing.T) {
	eachContainment(t, func(t *testing.T, containment string) {
		cfg := newConfig(t, sh("echo up; kill -STOP $$; exit 9")...)
		cfg.Containment = containment
		task := start(t, cfg)
		eventually(t, "it is up", func() bool {
			data, err := os.ReadFile(cfg.Dir + "/console")
			return err == nil && strings.Contains(string(data), "up")
		})
		must(t, syscall.Kill(task.PID(), syscall.SIGSTOP))
		must(t, task.Stop(time.Minute, "x"))
		if exit := wait(t, task); exit.Reason != Stopped || exit.Signal != "SIGTERM" {
			t.Errorf("ended as %+v", exit)
		}
	})
}

// A tree that forks faster than /proc can be read.
func TestForkStorm(t *testing.T) {
	eachContainment(t, func(t *testing.T, containment string) {
		cfg := newConfig(t)
		token := cfg.Dir + "/storm"
		cfg.Args = append(sh(`n=0; while [ $n -lt 30 ]; do (setsid sh -c 'trap "" TERM; i=0; while [ $i -lt 100 ]; do sh -c ":" "$0"; i=$((i+1)); done' "$0" &) ; n=$((n+1)); done; exit 0`), token)
		cfg.Containment = containment
		task := start(t, cfg)
		if exit := wait(t, task); exit.Code != 0 {
			t.Errorf("ended as %+v", exit)
		}
		if left := running(t, token); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
		gone(t, task, token)
	})
}

// The mark finds processes whose environment is gone, by the mounts they see.
func TestMarkInMounts(t *testing.T) {
	mount := must2(probed())(t).MountNS(-1)
	if mount == MountNone {
		t.Skip("there are no mount namespaces on this host")
	}
	cfg := newConfig(t)
	token := cfg.Dir + "/token"
	hidden := newDir(t)
	cfg.Args = append(sh(`env -i setsid sh -c 'trap "" TERM; echo staying; while :; do sleep 1; done' "$0" & sleep 1000`), token)
	cfg.MountNS, cfg.Hide = mount, []string{hidden}
	task := start(t, cfg)
	untilHidden(t, cfg)
	eventually(t, "three are marked", func() bool {
		pids, err := contain.Marked(task.Handle().Nonce, task.Handle().StartTicks)
		must(t, err)
		return len(pids) >= 3
	})
	must(t, syscall.Kill(task.PID(), syscall.SIGKILL))
	if exit := wait(t, task); exit.Reason != Lost {
		t.Errorf("ended as %+v", exit)
	}
	gone(t, task, token)
}

func must2[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T { t.Helper(); must(t, err); return v }
}
