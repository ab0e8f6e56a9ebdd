package envcache

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// countingRepo is a repository whose package writes a line to a file each time
// that it is built.
func countingRepo(t *testing.T) (dir, counter string) {
	t.Helper()
	counter = filepath.Join(t.TempDir(), "builds")
	dir = filepath.Join(newState(t), "repo")
	writeFiles(t, dir, project("counted", "1.0", map[string]string{"count.txt": counter}))
	return dir, counter
}

func builds(t *testing.T, counter string) int {
	t.Helper()
	data, err := os.ReadFile(counter)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return bytes.Count(data, []byte("\n"))
}

// Eight tasks of this process and two other agents want the same environment at
// once: it is built once.
func TestBuiltOnceForAll(t *testing.T) {
	t.Parallel()
	repo, counter := countingRepo(t)
	c := newCache(t, Options{})
	req := Request{Python: hostPython(t, SameUser), Requirements: []string{"./"}, BaseDir: repo, UID: SameUser, GID: SameUser}
	var wg sync.WaitGroup
	var mu sync.Mutex
	built, keys := 0, map[string]bool{}
	note := func(key string, hit bool) {
		mu.Lock()
		defer mu.Unlock()
		keys[key] = true
		if !hit {
			built++
		}
	}
	for range 8 {
		wg.Go(func() {
			l, err := c.Acquire(t.Context(), req, nil)
			if err != nil {
				t.Error(err)
				return
			}
			note(l.Key, l.Hit)
			_ = l.Close()
		})
	}
	for range 2 {
		wg.Go(func() {
			out, err := agent(t, os.Args[0], order{State: c.state, Request: req}).Output()
			how, key, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
			if err != nil {
				t.Errorf("agent: %v, %s", err, out)
				return
			}
			note(key, how == "hit")
		})
	}
	wg.Wait()
	if n := builds(t, counter); n != 1 || built != 1 || len(keys) != 1 {
		t.Fatalf("built %d times, by %d, for %d keys", n, built, len(keys))
	}
	if bad := litter(t, c.state); bad != nil {
		t.Fatalf("left over: %v", bad)
	}
}

// killedElsewhere are steps that the life of an agent below does not pass, and the
// tests that kill one there.
var killedElsewhere = map[string]string{
	"tool.filled":      "TestKilledWhilePipIsUnpacked",
	"import.unpacked":  "TestKilledWhileImporting",
	"import.moved":     "TestKilledWhileImporting",
	"tool.published":   "TestKilledWhilePipIsUnpacked",
	"python.installed": "TestAMissingPythonIsInstalled",
}

// An agent is killed at each step of a build, a lease, a check and a removal. The
// next one leaves no litter, leases only whole environments, and builds the same.
func TestKilledAtEachStep(t *testing.T) {
	t.Parallel()
	bin := crashing(t)
	x := newIndexServer(t, "", "")
	x.add(wheel("killed", "1.0"))
	first := Request{Python: hostPython(t, SameUser), IndexURL: x.url(), UID: SameUser, GID: SameUser}.with("killed")
	life := func(t *testing.T) order {
		t.Helper()
		state := newState(t)
		withTools(t, state)
		return order{State: state, Request: first, Other: first.with("killed<2"), Life: true}
	}
	trace := filepath.Join(t.TempDir(), "trace")
	if out, err := agent(t, bin, life(t), "AGENTCTL_CRASH_TRACE="+trace).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	points := stepsOf(t, trace)
	for _, p := range namedSteps(t) {
		if killedElsewhere[p] == "" && !slices.Contains(points, p) {
			t.Errorf("no test kills an agent at %s", p)
		}
	}
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			o := life(t)
			if out, err := agent(t, bin, o, "AGENTCTL_CRASH_AT="+point).CombinedOutput(); !wasKilled(err) {
				t.Fatalf("the agent was not killed: %v\n%s", err, out)
			}
			noProcesses(t, o.State)
			c, err := Open(o.State, Options{Getenv: environ(nil)})
			if err != nil {
				t.Fatal(err)
			}
			if bad := litter(t, o.State); bad != nil {
				t.Fatalf("left over: %v", bad)
			}
			l, other := acquire(t, c, o.Request), acquire(t, c, o.Other)
			if got := python(t, l.Python, "-c", "import killed; print(killed.version)"); got != "1.0" || other.Key != l.Key {
				t.Fatalf("the package says %q", got)
			}
			if err := c.VerifyFully(t.Context(), l); err != nil {
				t.Fatal(err)
			}
			if bad := litter(t, o.State); bad != nil {
				t.Fatalf("left over: %v", bad)
			}
		})
	}
}

// An agent is killed while pip is at work: pip goes with it, and the next agent
// builds at the same place.
func TestKilledWhilePipRuns(t *testing.T) {
	t.Parallel()
	state := newState(t)
	withTools(t, state)
	repo := filepath.Join(newState(t), "repo")
	writeFiles(t, repo, project("slow", "1.0", map[string]string{"hang.txt": ""}))
	req := Request{Python: hostPython(t, SameUser), Requirements: []string{"./"}, BaseDir: repo, UID: SameUser, GID: SameUser}
	cmd := agent(t, os.Args[0], order{State: state, Request: req})
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	copied := func() bool {
		found, _ := filepath.Glob(filepath.Join(state, "envs", "*", "src", "checkout", "hang.txt"))
		return len(found) > 0
	}
	for deadline := time.Now().Add(time.Minute); !copied(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the build did not begin")
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	// The same path of the repository, now without the hang, gives the same key.
	if err := os.Remove(filepath.Join(repo, "hang.txt")); err != nil {
		t.Fatal(err)
	}
	c, err := Open(state, Options{Getenv: environ(nil)})
	if err != nil {
		t.Fatal(err)
	}
	l := acquire(t, c, req)
	if l.Hit || python(t, l.Python, "-c", "import slow; print(slow.version)") != "1.0" {
		t.Fatal("the half-made environment was leased")
	}
	if bad := litter(t, state); bad != nil {
		t.Fatalf("left over: %v", bad)
	}
}

// An agent is killed while it unpacks a pip: the next one unpacks it anew.
func TestKilledWhilePipIsUnpacked(t *testing.T) {
	t.Parallel()
	py := hostPython(t, SameUser)
	if py.PipWheel == "" && py.PipFolder == "" {
		t.Skip("the Python of this host carries no pip to unpack without an index")
	}
	bin := crashing(t)
	x := newIndexServer(t, "", "")
	x.add(wheel("here", "1.0"))
	req := Request{Python: py, IndexURL: x.url(), Requirements: []string{"here"}, UID: SameUser, GID: SameUser}
	for _, point := range []string{"tool.filled", "tool.published"} {
		state := newState(t)
		if out, err := agent(t, bin, order{State: state, Request: req}, "AGENTCTL_CRASH_AT="+point).CombinedOutput(); err == nil {
			t.Fatalf("%s: the agent was not killed: %s", point, out)
		}
		c, err := Open(state, Options{Getenv: environ(nil)})
		if err != nil {
			t.Fatal(err)
		}
		if l := acquire(t, c, req); python(t, l.Python, "-m", "pip", "list") == "" {
			t.Fatalf("%s: no pip", point)
		}
		if found, _ := filepath.Glob(filepath.Join(state, "tools", ".new*")); found != nil {
			t.Fatalf("left over: %q", found)
		}
	}
}
