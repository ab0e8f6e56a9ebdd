package main

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"agentctl/envcache"
	"agentctl/worker"
)

// sharedTools holds the pip that all scripts build with, fetched once.
var sharedTools = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "actltools")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	return dir, err
})

// cacheOf opens the cache of a script's state folder.
func cacheOf(ts *testscript.TestScript, state string) *envcache.Cache {
	ts.Check(os.MkdirAll(state, 0o755))
	tools, err := sharedTools()
	ts.Check(err)
	if _, err := os.Lstat(filepath.Join(state, "tools")); os.IsNotExist(err) {
		ts.Check(os.Symlink(tools, filepath.Join(state, "tools")))
	}
	c, err := envcache.Open(state, envcache.Options{Getenv: ts.Getenv})
	ts.Check(err)
	return c
}

// lease leases an environment without packages; another word gives another one.
func lease(ts *testscript.TestScript, state string, words []string) *envcache.Lease {
	c := cacheOf(ts, state)
	f, err := envcache.NewFinder(state, envcache.Options{Getenv: os.Getenv})
	ts.Check(err)
	uid, gid, err := worker.TaskUser("")
	ts.Check(err)
	py, _, err := f.Find(context.Background(), "", envcache.OnMissingFail, uid, gid)
	ts.Check(err)
	req := envcache.Request{Python: py, UID: uid, GID: gid}
	for _, w := range words {
		req.ExtraIndexURLs = append(req.ExtraIndexURLs, "https://"+w+".invalid/simple")
	}
	l, err := c.Acquire(context.Background(), req, nil)
	ts.Check(err)
	return l
}

// makeEnv builds an environment and sets a variable to its key, or, if it must be
// there, fails if it is not: [!] make-env NAME STATE [WORD…].
func makeEnv(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: [!] make-env NAME STATE [WORD…]")
	}
	l := lease(ts, args[1], args[2:])
	defer l.Close()
	if l.Hit != neg {
		ts.Fatalf("hit %v: %s", l.Hit, l.Why)
	}
	ts.Setenv(args[0], l.Key)
}

// runTask plays a task that runs in an environment, until end-task: run-task ID STATE [WORD…].
func runTask(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: run-task ID STATE [WORD…]")
	}
	l := lease(ts, args[1], args[2:])
	ts.Defer(func() { _ = l.Close() })
	tasks.Store(args[0], l)
	writeTask(ts, args[0], args[1], worker.PhaseRunning, l)
}

var tasks sync.Map // id → lease

// endTask ends a task: end-task ID STATE.
func endTask(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: end-task ID STATE")
	}
	l, ok := tasks.LoadAndDelete(args[0])
	if !ok {
		ts.Fatalf("there is no task %s", args[0])
	}
	writeTask(ts, args[0], args[1], worker.PhaseReported, l.(*envcache.Lease))
	ts.Check(l.(*envcache.Lease).Close())
}

func writeTask(ts *testscript.TestScript, id, state string, phase worker.Phase, l *envcache.Lease) {
	dir := filepath.Join(state, "tasks", id)
	ts.Check(os.MkdirAll(dir, 0o711))
	rec := worker.Record{Version: 1, Task: id, Name: "train", Phase: phase, Leased: time.Now(), Environment: "built", EnvKey: l.Key, Why: l.Why}
	for name, v := range map[string]any{"record.jsonl": rec, "key.json": l.Parts} {
		data, err := json.Marshal(v)
		ts.Check(err)
		ts.Check(os.WriteFile(filepath.Join(dir, name), append(data, '\n'), 0o600))
	}
}

// spoil changes a file of an environment: spoil KEY STATE.
func spoil(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: spoil KEY STATE")
	}
	ts.Check(os.WriteFile(filepath.Join(args[1], "envs", ts.Getenv(args[0]), "bin", "activate"), []byte("evil"), 0o755))
}

func TestACacheOfAnotherUserIsRefused(t *testing.T) {
	state := t.TempDir()
	run := func(want int, says string) {
		t.Helper()
		var out, errs strings.Builder
		m := Main{Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Getenv: func(string) string { return "" }}
		if code := m.Run(t.Context(), []string{"cache", "ls", "--state", state}); code != want || !strings.Contains(errs.String(), says) || out.Len() > 0 {
			t.Errorf("exit code %d: %s%s", code, out.String(), errs.String())
		}
	}
	run(exitOK, "there are no environments")
	if _, err := os.Stat(filepath.Join(state, "envs")); err == nil {
		t.Error("a look made a cache")
	}
	if err := os.Mkdir(filepath.Join(state, "envs"), 0o711); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(filepath.Join(state, "envs"), 65534, 65534); err != nil {
			t.Fatal(err)
		}
		run(exitFailed, "belong to the user with id 65534")
		return
	}
	if err := os.Chmod(state, 0); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(state, 0o755)
	run(exitFailed, "permission denied; run this as the user of the agent")
}
