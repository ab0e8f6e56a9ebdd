package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rogpeppe/go-internal/testscript"

	"agentctl/control"
	"agentctl/internal/fsx"
	"agentctl/runtime/shimbin"
)

var update = flag.Bool("update", false, "rewrite golden files")

// patience is how long tests wait for what must come; the machine may be busy.
const patience = 2 * time.Minute

func TestMain(m *testing.M) {
	testscript.Main(leakless{m}, map[string]func(){"agentctl": main, clearmlName: main})
}

// leakless runs the tests and then looks for goroutines that they left.
type leakless struct{ *testing.M }

func (l leakless) Run() int {
	code := l.M.Run()
	if dir, err := sharedTools(); err == nil {
		_ = os.RemoveAll(dir)
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// TestScripts runs testdata/script: the program as its users call it, each with a
// state folder and a socket of its own.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", UpdateScripts: *update, RequireUniqueNames: true,
		Setup: setup,
		Condition: func(name string) (bool, error) {
			if name == "shim" {
				_, err := shimbin.Extract(t.TempDir())
				return err == nil, nil
			}
			return false, fmt.Errorf("unknown condition %s", name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "eventually": eventually, "replace": replace, "kill-agent": killAgent, "chmod-all": chmodAll, "ids": ids,
			"registry": serveImages, "hold-image": holdImage,
			"make-env": makeEnv, "run-task": runTask, "end-task": endTask, "spoil": spoil,
		},
	})
}

// setup keeps the script apart from the person who runs it.
func setup(e *testscript.Env) error {
	// A socket's path may have 107 bytes, and the users of tasks must get through.
	dir, err := os.MkdirTemp("", "actl")
	if err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	e.Defer(func() { clean(e, dir) })
	e.Setenv("AGENTCTL_STATE", filepath.Join(dir, "state"))
	e.Setenv("AGENTCTL_SOCKET", filepath.Join(dir, "a.sock"))
	e.Setenv("AGENTCTL_SERVER_LISTEN", "127.0.0.1:0")
	e.Setenv("AGENTCTL_NODE_NAME", "here")
	e.Setenv("SHARED", dir)
	e.Setenv("HOME", e.WorkDir)
	e.Setenv("GIT_CONFIG_GLOBAL", os.DevNull)
	e.Setenv("GIT_CONFIG_NOSYSTEM", "1")
	return nil
}

// clean ends what the script left running and removes its folder.
func clean(e *testscript.Env, dir string) {
	for range 50 {
		pids := processes(dir)
		if len(pids) == 0 {
			break
		}
		for _, pid := range pids {
			if p, err := os.FindProcess(pid); err == nil {
				_ = p.Kill()
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	_ = exec.Command("chmod", "-R", "u+w", dir).Run()
	if err := os.RemoveAll(dir); err != nil {
		e.T().Log(err)
	}
}

// processes lists those with the folder in their arguments or environment.
func processes(folder string) (pids []int) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() {
			continue
		}
		args, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
		if bytes.Contains(args, []byte(folder)) || bytes.Contains(environ, []byte(folder)) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// exits runs a command that must end with a code, or one of several: exits 2
// agentctl validate x, exits 0,1 agentctl doctor.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARGS…]")
	}
	code := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if !slices.Contains(strings.Split(args[0], ","), strconv.Itoa(code)) {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// eventually runs a command until its output holds a text: eventually TEXT PROGRAM….
func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: eventually TEXT PROGRAM [ARGS…]")
	}
	deadline := time.Now().Add(patience)
	for {
		err := ts.Exec(args[1], args[2:]...)
		if strings.Contains(ts.ReadFile("stdout")+ts.ReadFile("stderr"), args[0]) != neg {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%q did not come: %v", args[0], err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// replace changes a file as an editor does that renames: replace FILE OLD NEW.
func replace(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: replace FILE OLD NEW")
	}
	path := ts.MkAbs(args[0])
	text := ts.ReadFile(args[0])
	if !strings.Contains(text, args[1]) {
		ts.Fatalf("%q is not in %s", args[1], args[0])
	}
	ts.Check(os.WriteFile(path+".new", []byte(strings.ReplaceAll(text, args[1], args[2])), 0o644))
	ts.Check(os.Rename(path+".new", path))
}

// killAgent ends the script's agent by SIGTERM, and waits until nobody answers and
// another one may begin.
func killAgent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 0 {
		ts.Fatalf("usage: kill-agent")
	}
	c := control.NewClient(ts.Getenv("AGENTCTL_SOCKET"))
	defer c.Close()
	who, err := c.Agent(context.Background())
	ts.Check(err)
	p, err := os.FindProcess(who.PID)
	ts.Check(err)
	ts.Check(p.Signal(syscall.SIGTERM))
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if _, err := c.Agent(context.Background()); errors.Is(err, control.ErrNoAgent) && unlocked(ts) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the agent does not end")
		}
	}
}

func unlocked(ts *testscript.TestScript) bool {
	lock, err := fsx.TryLock(filepath.Join(ts.Getenv("AGENTCTL_STATE"), "agent.lock"))
	return err == nil && lock.Close() == nil
}

// chmodAll lets everybody read a folder, and pass to it: the tasks of a root agent
// run as another user.
func chmodAll(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: chmod-all FOLDER")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(exec.Command("chmod", "-R", "a+rX", dir).Run())
	for ; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		ts.Check(os.Chmod(dir, 0o755))
	}
}

// ids sets a variable to the id in a file, and $short to its beginning: ids NAME FILE.
func ids(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: ids NAME FILE")
	}
	id := strings.TrimSpace(ts.ReadFile(args[1]))
	if len(id) < 8 {
		ts.Fatalf("%q is no id", id)
	}
	ts.Setenv(args[0], id)
	ts.Setenv("short", id[:8])
}
