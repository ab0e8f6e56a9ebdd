package runtime

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"agentctl/runtime/shim"
)

// The test binary plays the shim, the tasks and the agents of the tests.
func TestMain(m *testing.M) {
	if shim.IsShim(os.Args) {
		os.Exit(shim.Main(os.Args))
	}
	if len(os.Args) > 2 && os.Args[1] == "play" {
		os.Exit(play(os.Args[2], os.Args[3:]))
	}
	flag.Parse()
	if *update { // the other tests have no golden files, and take minutes
		_ = flag.Set("test.run", "^TestKnownAttacksAreAnswered$")
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(base())
		os.Exit(code)
	}))
}

// patience is for what must happen, however slow the machine is.
const patience = 2 * time.Minute

// base is a folder that other users can pass through, with the test binary.
var base = sync.OnceValue(func() string {
	dir, err := os.MkdirTemp("", "agentctl-runtime-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err == nil {
		err = copyFile("/proc/self/exe", filepath.Join(dir, "self"))
	}
	if err != nil {
		panic(err)
	}
	return dir
})

func self() string { return filepath.Join(base(), "self") }

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return out.Close()
}

// builtShim is the real program, with its crash points.
var builtShim = sync.OnceValues(func() (string, error) {
	// Tests that run as another user have no Go of their own.
	if path := os.Getenv("AGENTCTL_TEST_SHIM"); path != "" {
		return path, nil
	}
	path := filepath.Join(base(), "agentctl-shim")
	out, err := exec.Command("bash", "../test/setup/shim.sh", path, "crashpoints").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func realShim(t testing.TB) string {
	t.Helper()
	path, err := builtShim()
	must(t, err)
	return path
}

// allRungs is a Host on which everything is taken to work.
func allRungs() Host {
	h := Host{UID: os.Geteuid(), Sandbox: allSandbox()}
	for _, n := range []string{Cgroup2, Cgroup1, PIDNS, Subreaper} {
		h.Containment = append(h.Containment, Rung{Name: n, Works: true})
	}
	for _, n := range []string{MountRoot, MountUserNS, MountNone} {
		h.Mounts = append(h.Mounts, Rung{Name: n, Works: true})
	}
	return h
}

// probed is this host, looked at once.
var probed = sync.OnceValues(func() (Host, error) {
	path, err := builtShim()
	if err != nil {
		return Host{}, err
	}
	return Probe(context.Background(), path, base(), slog.New(slog.DiscardHandler))
})

// has tells whether this host has a rung; TestProbe says which those are.
func has(t *testing.T, rungs func(Host) []Rung, name string) bool {
	t.Helper()
	h, err := probed()
	must(t, err)
	r := find(rungs(h), name)
	if !r.Works {
		t.Logf("not tried on %s: %s", name, r.Reason)
	}
	return r.Works
}

func containments(h Host) []Rung { return h.Containment }
func mountRungs(h Host) []Rung   { return h.Mounts }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newDir is a run's folder that every user can pass through.
func newDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(base(), "run-")
	must(t, err)
	must(t, os.Chmod(dir, 0o755))
	t.Cleanup(func() {
		if err := RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// newConfig runs args on the plainest rungs.
func newConfig(t testing.TB, args ...string) Config {
	t.Helper()
	return Config{
		ID: "t-" + strings.Map(idRune, t.Name()), Dir: newDir(t), Args: args, Cwd: "/", UID: -1, GID: -1,
		Env: append(quiet, "PATH=/usr/bin:/bin"), Containment: Subreaper, MountNS: MountNone, Grace: time.Minute,
	}
}

// quiet keeps race-detecting programs from sleeping a second at their end.
var quiet = []string{"GORACE=atexit_sleep_ms=0"}

func idRune(r rune) rune {
	if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
		return r
	}
	return '-'
}

func sh(script string, args ...string) []string {
	return append([]string{"/bin/sh", "-c", script}, args...)
}

func launcher(shimPath string) *Launcher {
	return NewLauncher(shimPath, allRungs(), slog.New(slog.DiscardHandler))
}

// start starts cfg. The task is killed when the test ends before it.
func start(t testing.TB, cfg Config, leases ...*os.File) *Task {
	t.Helper()
	return startWith(t, launcher(realShim(t)), cfg, leases...)
}

func startWith(t testing.TB, l *Launcher, cfg Config, leases ...*os.File) *Task {
	t.Helper()
	task, err := l.Start(context.Background(), cfg, leases...)
	must(t, err)
	t.Cleanup(func() {
		_ = task.Kill()
		if _, err := task.Wait(context.Background()); err == nil {
			return
		}
		// The test left it to somebody else.
		again, err := Attach(cfg.Dir)
		must(t, err)
		_ = again.Kill()
		wait(t, again)
		_, _ = syscall.Wait4(task.PID(), nil, 0, nil)
	})
	return task
}

func wait(t testing.TB, task *Task) Exit {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	exit, err := task.Wait(ctx)
	if err != nil {
		t.Fatalf("Wait: %v", err)
	}
	return exit
}

// run runs cfg to its end and returns what it wrote, by stream.
func runToEnd(t testing.TB, cfg Config) (Exit, map[string]string) {
	t.Helper()
	exit := wait(t, start(t, cfg))
	return exit, readAll(t, cfg.Dir)
}

// readAll is all that is in an ended console, by stream.
func readAll(t testing.TB, dir string) map[string]string {
	t.Helper()
	r, err := OpenConsole(dir, 0)
	must(t, err)
	defer r.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	text := map[string]string{}
	for {
		f, err := r.Next(ctx)
		if errors.Is(err, io.EOF) {
			return text
		}
		must(t, err)
		text[f.Stream] += string(f.Data)
	}
}

// eventually waits until ok, which is looked at again and again.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// running lists processes with token among their arguments.
func running(t testing.TB, token string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	must(t, err)
	var found []string
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err == nil && strings.Contains(string(data), token) {
			found = append(found, filepath.Base(filepath.Dir(f))+" "+strings.ReplaceAll(string(data), "\x00", " "))
		}
	}
	return found
}
