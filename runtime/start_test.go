package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"agentctl/internal/fsx"
	"agentctl/runtime/internal/record"
)

func TestTaskSeesWhatItWasGiven(t *testing.T) {
	cfg := newConfig(t, sh(`umask; pwd; cat; echo "$A|$B|$(env | grep -c -v -e ^A= -e ^B= -e ^PWD= -e ^_= -e ^PATH= -e ^AGENTCTL_RUN= -e ^GORACE=)"; echo two >/dev/stdout; echo err >&2; ls /proc/self/fd | wc -l; ps -o sid= -p $$ | grep -qw $$ && echo leader`)...)
	cfg.Cwd = cfg.Dir
	cfg.Env = append(cfg.Env, "A=x y", "B=")
	exit, out := runToEnd(t, cfg)
	// Of ls the fourth descriptor is the folder that it lists.
	want := "0022\n" + cfg.Dir + "\nx y||0\ntwo\n4\nleader\n"
	if out[StreamStdout] != want || out[StreamStderr] != "err\n" || out[StreamAgent] != "" {
		t.Errorf("wrote %q, want %q", out, want)
	}
	if exit.Reason != Exited || exit.Code != 0 || exit.Signal != "" || exit.Message != "" || exit.Containment != Subreaper || exit.MountNS != MountNone {
		t.Errorf("ended as %+v", exit)
	}
	if exit.Started.IsZero() || exit.Ended.Before(exit.Started) {
		t.Errorf("from %s to %s", exit.Started, exit.Ended)
	}
}

// The shim's own code under the race detector, where the tests are.
func TestShimInTheTestBinary(t *testing.T) {
	eachContainment(t, func(t *testing.T, containment string) {
		cfg, token := nastyConfig(t, containment, MountNone, "stay")
		task := startWith(t, launcher(self()), cfg)
		untilHidden(t, cfg)
		must(t, task.Stop(50*time.Millisecond, "enough"))
		if exit := wait(t, task); exit.Reason != Stopped {
			t.Errorf("ended as %+v", exit)
		}
		gone(t, task, token)
		if data, err := os.ReadFile(filepath.Join(cfg.Dir, record.LogFile)); err != nil || len(data) > 0 {
			t.Errorf("the shim says: %s %v", data, err)
		}
	})
}

func TestTaskIsAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can run a task as another user")
	}
	eachContainment(t, func(t *testing.T, containment string) {
		cfg := newConfig(t, sh("id -u; id -g; id -G; echo again >/dev/stdout; echo more >>/dev/stderr; grep CapEff /proc/self/status")...)
		cfg.UID, cfg.GID, cfg.Groups = 65534, 65533, []int{7, 65533}
		cfg.Containment = containment
		exit, out := runToEnd(t, cfg)
		want := "65534\n65533\n65533 7\nagain\nCapEff:\t0000000000000000\n"
		if exit.Code != 0 || out[StreamStdout] != want || out[StreamStderr] != "more\n" {
			t.Errorf("%+v, wrote %q, want %q", exit, out, want)
		}
	})
}

func TestExits(t *testing.T) {
	eachContainment(t, func(t *testing.T, containment string) {
		for _, tt := range []struct {
			script       string
			code         int
			signal, want string
		}{
			{"exit 0", 0, "", Exited},
			{"exit 3", 3, "", Exited},
			{"exit 255", 255, "", Exited},
			{"kill -SEGV $$", 139, "SIGSEGV", Signaled},
			{"kill -KILL $$", 137, "SIGKILL", Signaled},
			{"sh -c 'kill -KILL $$'; exit 5", 5, "", Exited},
		} {
			cfg := newConfig(t, sh(tt.script)...)
			cfg.Containment = containment
			exit := wait(t, start(t, cfg))
			if exit.Code != tt.code || exit.Signal != tt.signal || exit.Reason != tt.want || exit.Containment != containment {
				t.Errorf("%s: ended as %+v", tt.script, exit)
			}
		}
	})
}

func TestStartFailures(t *testing.T) {
	dir := newDir(t)
	script := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		must(t, os.WriteFile(path, []byte(text), 0o644))
		must(t, os.Chmod(path, mode))
		return path
	}
	eachContainment(t, func(t *testing.T, containment string) {
		for _, tt := range []struct {
			name, program, cwd, want string
		}{
			{"program missing", "/x/python", "/", "cannot start: /x/python: no such file or directory"},
			{"folder missing", "/bin/true", "/x/y", "cannot start: working folder /x/y: no such file or directory"},
			{"folder is a file", "/bin/true", "/etc/passwd", "cannot start: working folder /etc/passwd: not a folder"},
			{"program is a folder", "/etc", "/", "cannot start: /etc: is a folder"},
			{"not executable", script("plain", "#!/bin/sh\n", 0o644), "/", "not executable"},
			{"no program", script("text", "hello", 0o755), "/", "not a program of this machine"},
			{"interpreter missing", script("odd", "#!/x/python3 -u\n", 0o755), "/", "its interpreter /x/python3 does not exist"},
		} {
			t.Run(tt.name, func(t *testing.T) {
				cfg := newConfig(t, tt.program)
				cfg.Cwd, cfg.Containment = tt.cwd, containment
				exit := wait(t, start(t, cfg))
				if exit.Reason != StartFailed || exit.Code != -1 || !strings.Contains(exit.Message, tt.want) {
					t.Errorf("ended as %+v, want %q", exit, tt.want)
				}
			})
		}
	})
}

func TestStartOfAnotherUserFails(t *testing.T) {
	if os.Geteuid() == 0 {
		cfg := newConfig(t, "/bin/true")
		cfg.UID, cfg.GID, cfg.Cwd = 65534, 65534, t.TempDir() // 0700 of root above it
		exit := wait(t, start(t, cfg))
		if exit.Reason != StartFailed || !strings.Contains(exit.Message, "user 65534 may not") {
			t.Errorf("ended as %+v", exit)
		}
		return
	}
	cfg := newConfig(t, "/bin/true")
	cfg.UID, cfg.GID = 0, 0
	_, err := launcher(realShim(t)).Start(context.Background(), cfg)
	if err == nil || !strings.Contains(err.Error(), "can't run as user 0") {
		t.Errorf("Start: %v", err)
	}
}

func TestFolderIsUsedOnce(t *testing.T) {
	cfg := newConfig(t, "/bin/sleep", "1000")
	task := start(t, cfg)
	l := launcher(realShim(t))
	if _, err := l.Start(context.Background(), cfg); !errors.Is(err, ErrRan) {
		t.Errorf("Start beside a living run: %v", err)
	}
	must(t, task.Kill())
	wait(t, task)
	if _, err := l.Start(context.Background(), cfg); !errors.Is(err, ErrRan) {
		t.Errorf("Start after a run: %v", err)
	}
}

func TestStartAfterAnAttemptThatDidNot(t *testing.T) {
	cfg := newConfig(t, "/bin/true")
	if _, err := launcher("/x/shim").Start(context.Background(), cfg); err == nil {
		t.Fatal("a shim that does not exist was started")
	}
	must(t, fsx.WriteJSON(filepath.Join(cfg.Dir, record.StopFile), record.Stop{Version: 1}, 0o600))
	if exit := wait(t, start(t, cfg)); exit.Reason != Exited {
		t.Errorf("ended as %+v", exit)
	}
}

func TestStartIsGivenUp(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	cfg := newConfig(t, "/bin/true")
	if _, err := launcher(realShim(t)).Start(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("Start: %v", err)
	}
	if _, err := Attach(cfg.Dir); !errors.Is(err, ErrNoRun) {
		t.Errorf("Attach: %v", err)
	}
}

// A program that is no shim must not hang the agent.
func TestStartOfAWrongShim(t *testing.T) {
	for _, program := range []string{"/bin/true", "/bin/false", "/bin/cat"} {
		_, err := launcher(program).Start(context.Background(), newConfig(t, "/bin/true"))
		if err == nil || !strings.Contains(err.Error(), "the shim ended at once") {
			t.Errorf("%s: %v", program, err)
		}
	}
}

func TestLeasesAreHeldUntilTheEnd(t *testing.T) {
	cfg := newConfig(t, sh("ls -l /proc/$$/fd >&2; sleep 1000")...)
	path := filepath.Join(cfg.Dir, "lease")
	lease, err := fsx.TryLockShared(path)
	must(t, err)
	task := start(t, cfg, lease.File())
	must(t, lease.Close())
	if _, err := fsx.TryLock(path); !errors.Is(err, fsx.ErrLocked) {
		t.Errorf("lease while the task runs: %v", err)
	}
	must(t, task.Kill())
	wait(t, task)
	l, err := fsx.WaitLock(context.Background(), path)
	must(t, err)
	must(t, l.Close())
	// The task must not be able to hold it longer.
	if out := readAll(t, cfg.Dir)[StreamStderr]; strings.Contains(out, "lease") || strings.Contains(out, "lock") {
		t.Errorf("the task has descriptors of the shim: %s", out)
	}
}

func TestNothingOfTheAgentLeaks(t *testing.T) {
	wait(t, start(t, newConfig(t, "/bin/true"))) // opens what is opened once
	before := openFiles(t)
	for range 5 {
		wait(t, start(t, newConfig(t, "/bin/true")))
		task, err := Attach(newEnded(t))
		must(t, err)
		wait(t, task)
		d := start(t, newConfig(t, "/bin/sleep", "1000"))
		again, err := Attach(d.Dir())
		must(t, err)
		must(t, again.Kill())
		wait(t, again)
		wait(t, d)
	}
	eventually(t, "descriptors are closed", func() bool { return openFiles(t) <= before })
	eventually(t, "children are reaped", func() bool { return len(children(t)) == 0 })
}

func newEnded(t *testing.T) string {
	cfg := newConfig(t, "/bin/true")
	wait(t, start(t, cfg))
	return cfg.Dir
}

func openFiles(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(names)
}

// children lists the children of this process, zombies too.
func children(t *testing.T) []string {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	must(t, err)
	var found []string
	for _, f := range stats {
		data, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
		if fields[1] == strconv.Itoa(os.Getpid()) {
			found = append(found, string(data))
		}
	}
	return found
}

func TestDetachLeavesTheTask(t *testing.T) {
	task := start(t, newConfig(t, "/bin/sleep", "1000"))
	first, err := Attach(task.Dir())
	must(t, err)
	first.Detach()
	if _, err := first.Wait(context.Background()); err == nil {
		t.Error("a detached task told its end")
	}
	select {
	case <-task.Done():
		t.Error("it ended")
	case <-time.After(10 * time.Millisecond):
	}
}

// Many runs at once, started and ended in any order.
func TestManyAtOnce(t *testing.T) {
	var all sync.WaitGroup
	for i := range 30 {
		containment := []string{Cgroup2, Cgroup1, PIDNS, Subreaper}[i%4]
		if !find(must2(probed())(t).Containment, containment).Works {
			continue
		}
		cfg := newConfig(t, sh(fmt.Sprintf("seq 1000; exit %d", i))...)
		cfg.Containment = containment
		task := start(t, cfg)
		all.Go(func() {
			exit, err := task.Wait(context.Background())
			if err != nil || exit.Code != i || strings.Count(readAll(t, cfg.Dir)[StreamStdout], "\n") != 1000 {
				t.Errorf("run %d ended as %+v, %v", i, exit, err)
			}
		})
	}
	all.Wait()
}
