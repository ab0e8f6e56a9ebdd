package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"agentctl/internal/fsx"
	"agentctl/runtime/internal/record"
)

// countedConfig runs a task that leaves a line in a file each time it is started,
// and then a process that hides.
func countedConfig(t *testing.T, containment string) (cfg Config, runs func() int, token string) {
	t.Helper()
	cfg = newConfig(t)
	marks := filepath.Join(newDir(t), "runs")
	token = cfg.Dir + "/token"
	cfg.Args = sh(`echo run >> "$0"; exec "$1" play nasty "$2"`, marks, self(), token)
	cfg.Containment = containment
	if mount := must2(probed())(t).MountNS(-1); mount != MountNone {
		base := filepath.Join(newDir(t), "base")
		must(t, os.Mkdir(base, 0o755))
		cfg.MountNS = mount
		cfg.Overlays = []Overlay{{Target: base, Lower: base, Upper: cfg.Dir + "/upper"}}
	}
	return cfg, func() int {
		data, err := os.ReadFile(marks)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		return strings.Count(string(data), "run")
	}, token
}

// The shim dies at each of its steps. The task is started at most once, its end
// is told, and nothing is left.
func TestShimDiesAtEachStep(t *testing.T) {
	for _, tt := range []struct {
		point, reason string // "" is a run that never was
		runs          int    // -1: once or not at all
	}{
		{"shim.before-handle", "", 0},
		{"shim.handle", Lost, 0},
		{"shim.boxed", Lost, 0},
		{"shim.mounted", Lost, 0},
		{"shim.started", Lost, -1},
		{"shim.before-exit", Lost, 1},
		{"shim.exit", Exited, 1},
	} {
		eachContainment(t, func(t *testing.T, containment string) {
			t.Run(tt.point, func(t *testing.T) {
				cfg, runs, token := countedConfig(t, containment)
				if cfg.MountNS == MountNone && tt.point == "shim.mounted" {
					t.Skip("there are no mount namespaces on this host")
				}
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
				gone(t, task, token)
				if _, err := launcher(realShim(t)).Start(context.Background(), cfg); !errors.Is(err, ErrRan) {
					t.Errorf("a second start: %v", err)
				}
			})
		})
	}
}

// neverRan checks that the folder can be used after a start that failed.
func neverRan(t *testing.T, cfg Config, err error) {
	t.Helper()
	if err == nil {
		t.Fatal("Start succeeded")
	}
	if _, err := Attach(cfg.Dir); !errors.Is(err, ErrNoRun) {
		t.Errorf("Attach: %v", err)
	}
	t.Setenv("AGENTCTL_CRASH_AT", "")
	if exit := wait(t, start(t, cfg)); exit.Code != 7 {
		t.Errorf("started again, it ended as %+v", exit)
	}
}

// The shim dies at any moment.
func TestShimDiesSometime(t *testing.T) {
	for i := range 40 {
		containment := []string{Cgroup2, Cgroup1, PIDNS, Subreaper}[i%4]
		if !find(must2(probed())(t).Containment, containment).Works {
			continue
		}
		cfg, runs, token := countedConfig(t, containment)
		task, err := launcher(realShim(t)).Start(context.Background(), cfg)
		must(t, err)
		time.Sleep(rand.N(12 * time.Millisecond))
		_ = syscall.Kill(task.PID(), syscall.SIGKILL)
		exit := wait(t, task)
		if exit.Reason != Lost && exit.Reason != Exited || runs() > 1 {
			t.Errorf("%d runs, ended as %+v", runs(), exit)
		}
		gone(t, task, token)
	}
}

// agentOrder is what the play "agent" is to start and where it is to die.
type agentOrder struct {
	Config Config
	Shim   string
	DieAt  string
}

// agent starts a run and dies, as SIGKILL would have it, at a step or when it has
// started.
func agent(args []string) int {
	var order agentOrder
	if err := fsx.ReadJSON(args[0], &order); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	l := launcher(order.Shim)
	l.step = func(name string) {
		if name == order.DieAt {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	if _, err := l.Start(context.Background(), order.Config); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	l.step(order.DieAt)
	return 0
}

// agentDies plays an agent to its death.
func agentDies(t *testing.T, cfg Config, at string) {
	t.Helper()
	path := filepath.Join(newDir(t), "order")
	data, err := json.Marshal(agentOrder{Config: cfg, Shim: realShim(t), DieAt: at})
	must(t, err)
	must(t, os.WriteFile(path, data, 0o600))
	out, err := exec.Command(self(), "play", "agent", path).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the agent ended with %v: %s", err, out)
	}
}

func TestAgentDiesBeforeTheShim(t *testing.T) {
	cfg, runs, _ := countedConfig(t, Subreaper)
	agentDies(t, cfg, "runtime.run-written")
	neverRan(t, cfg, errors.New("killed"))
	if runs() != 1 {
		t.Errorf("the task was started %d times", runs())
	}
}

// From the moment in which the shim exists, the next agent finds it.
func TestAgentDiesBehindTheShim(t *testing.T) {
	for _, at := range []string{"runtime.spawned", "started"} {
		t.Run(at, func(t *testing.T) {
			for range 5 {
				cfg, runs, token := countedConfig(t, Subreaper)
				agentDies(t, cfg, at)
				if _, err := launcher(realShim(t)).Start(context.Background(), cfg); !errors.Is(err, ErrRan) {
					t.Errorf("a second start: %v", err)
				}
				task, err := Attach(cfg.Dir)
				must(t, err)
				if exit := wait(t, task); exit.Code != 7 || exit.Reason != Exited || runs() != 1 {
					t.Errorf("%d runs, ended as %+v", runs(), exit)
				}
				gone(t, task, token)
			}
		})
	}
}

// The agent is killed while the task writes: the next one reads on where the
// first stopped, can stop the task, and misses nothing.
func TestReattach(t *testing.T) {
	eachContainment(t, func(t *testing.T, containment string) {
		fifo := filepathFIFO(t)
		cfg := newConfig(t, sh(`trap 'seq 20001 30000; exit 5' TERM; seq 1 10000; read x < $0; seq 10001 20000; echo ready >&2; while :; do sleep 0.05; done`, fifo)...)
		cfg.Containment = containment
		agentDies(t, cfg, "started")
		first := openConsole(t, cfg.Dir, 0)
		text, pos := "", int64(0)
		for !strings.Contains(text, "\n10000\n") {
			f := next(t, first)
			text, pos = text+string(f.Data), f.End
		}
		task, err := Attach(cfg.Dir)
		must(t, err)
		if task.Containment() != containment || task.PID() <= 0 || task.MountNS() != MountNone || task.Handle().ID != cfg.ID {
			t.Errorf("attached to %+v", task.Handle())
		}
		must(t, os.WriteFile(fifo, []byte("go\n"), 0o600))
		second := openConsole(t, cfg.Dir, pos)
		for {
			f := next(t, second)
			if f.Stream == StreamStderr {
				break
			}
			text += string(f.Data)
		}
		must(t, task.Stop(time.Minute, "enough"))
		if exit := wait(t, task); exit.Code != 5 || exit.Reason != Stopped {
			t.Errorf("ended as %+v", exit)
		}
		for {
			f, err := second.Next(context.Background())
			if err != nil {
				break
			}
			if f.Stream == StreamStdout {
				text += string(f.Data)
			}
		}
		wantLines(t, text, 30000, func(i int) string { return fmt.Sprint(i) })
	})
}

// Two agents at once see the same end, and only one of them records a loss.
func TestTwoAgents(t *testing.T) {
	cfg, token := nastyConfig(t, Subreaper, MountNone, "stay")
	agentDies(t, cfg, "started")
	untilHidden(t, cfg)
	var ends [4]Exit
	var pid int
	var all sync.WaitGroup
	for i := range ends {
		task, err := Attach(cfg.Dir)
		must(t, err)
		pid = task.PID()
		all.Go(func() { ends[i] = wait(t, task) })
	}
	must(t, syscall.Kill(pid, syscall.SIGKILL))
	all.Wait()
	for _, e := range ends {
		if e.Reason != Lost || !e.Ended.Equal(ends[0].Ended) {
			t.Errorf("ended as %+v and as %+v", e, ends[0])
		}
	}
	eventually(t, "all processes are dead", func() bool { return len(running(t, token)) == 0 })
}

func TestAttachToNothing(t *testing.T) {
	dir := newDir(t)
	for _, dir := range []string{dir, filepath.Join(dir, "missing")} {
		if _, err := Attach(dir); !errors.Is(err, ErrNoRun) {
			t.Errorf("Attach: %v", err)
		}
	}
}

// A handle whose process number now belongs to somebody else, or that was written
// before a restart of the machine, must not get anybody killed.
func TestAttachToAnOldHandle(t *testing.T) {
	stranger := exec.Command("/bin/sleep", "1000")
	must(t, stranger.Start())
	t.Cleanup(func() { _ = stranger.Process.Kill(); _ = stranger.Wait() })
	boot := must2(readFacts())(t).boot
	for _, tt := range []struct {
		name, boot, want string
		ticks            uint64
	}{
		{"another process", boot, "was killed", 1},
		{"another boot", "00000000-0000-0000-0000-000000000000", "restarted", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := newDir(t)
			must(t, fsx.WriteJSON(filepath.Join(dir, record.HandleFile), Handle{
				Version: 1, ID: "x", PID: stranger.Process.Pid, StartTicks: tt.ticks, BootID: tt.boot,
				Containment: Subreaper, Nonce: "ffffffffffffffffffffffffffffffff",
			}, 0o600))
			task, err := Attach(dir)
			must(t, err)
			must(t, task.Kill())
			if exit := wait(t, task); exit.Reason != Lost || !strings.Contains(exit.Message, tt.want) {
				t.Errorf("ended as %+v", exit)
			}
			must(t, stranger.Process.Signal(syscall.Signal(0)))
		})
	}
}

func TestAttachToDamagedRecords(t *testing.T) {
	for _, file := range []string{record.HandleFile, record.ExitFile} {
		for _, text := range []string{"", "{", `{"version": 99}`, "[]"} {
			dir := newDir(t)
			must(t, os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600))
			if _, err := Attach(dir); err == nil || errors.Is(err, ErrNoRun) {
				t.Errorf("%s with %q: %v", file, text, err)
			}
		}
	}
}
