package envcache

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"agentctl/internal/crash"
	"agentctl/internal/fsx"
)

// childVar holds the order of an agent that this test's program plays.
const childVar = "ENVCACHE_TEST_AGENT"

// order is what a played agent has to do.
type order struct {
	State   string
	Request Request
	// Import takes the environment from an archive, in place of a request.
	Import string
	// Discard throws the environment away afterwards.
	Discard bool
}

// playAgent acquires an environment and prints "built KEY" or "hit KEY".
func playAgent() {
	var o order
	err := json.Unmarshal([]byte(os.Getenv(childVar)), &o)
	var c *Cache
	if err == nil {
		c, err = Open(o.State, Options{Getenv: environ(nil)})
	}
	var l *Lease
	switch {
	case err == nil && o.Import != "":
		var f *os.File
		if f, err = os.Open(o.Import); err == nil {
			l, err = c.Import(context.Background(), f, ImportOptions{UID: o.Request.UID, GID: o.Request.GID}, nil)
		}
	case err == nil:
		l, err = c.Acquire(context.Background(), o.Request, nil)
	}
	if err == nil {
		fmt.Println(map[bool]string{true: "hit", false: "built"}[l.Hit], l.Key)
		_ = l.Close()
		crash.Point("test.leased")
		if o.Discard {
			err = c.Discard(context.Background(), l.Key)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func agent(t *testing.T, program string, o order, env ...string) *exec.Cmd {
	t.Helper()
	data, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = append(append(os.Environ(), childVar+"="+string(data)), env...)
	return cmd
}

// crashing is this test's program with crash points, built once.
func crashing(t *testing.T) string {
	t.Helper()
	crasher.once.Do(func() {
		if crasher.dir, crasher.err = os.MkdirTemp("", "accrash"); crasher.err != nil {
			return
		}
		cmd := exec.Command("go", "test", "-c", "-tags", "crashpoints", "-o", filepath.Join(crasher.dir, "crashing"), ".")
		if out, err := cmd.CombinedOutput(); err != nil {
			crasher.err = fmt.Errorf("cannot build with crash points: %w\n%s", err, out)
		}
	})
	if crasher.err != nil {
		t.Fatal(crasher.err)
	}
	return filepath.Join(crasher.dir, "crashing")
}

// litter lists what is in envs/ and beside it that no whole entry explains.
func litter(t *testing.T, state string) []string {
	t.Helper()
	dir := filepath.Join(state, "envs")
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	// Of a folder in use: the locks of ages and aliases, of collections, of its users.
	fixed := []string{".guard", ".collect", usersFile, bootFile}
	var bad []string
	for _, f := range files {
		key, suffix, _ := strings.Cut(f.Name(), ".")
		_, whole := os.Stat(filepath.Join(dir, key+".json"))
		ok := false
		switch suffix {
		case "", "json", "manifest", "lock":
			ok = whole == nil
		case "age":
			ok = len(key) == 32
		case "alias": // as good as what it leads to
			var to alias
			var rec struct{ Entry record }
			ok = fsx.ReadJSON(filepath.Join(dir, f.Name()), &to) == nil && fsx.ReadJSON(filepath.Join(dir, to.Key+".json"), &rec) == nil &&
				rec.Entry.Settled == to.Lock
		default:
			ok = slices.Contains(fixed, f.Name())
		}
		if !ok {
			bad = append(bad, f.Name())
		}
	}
	for _, pattern := range []string{"tools/.new*", "tools/.home-*", "tools/.*.tmp-*"} {
		found, err := filepath.Glob(filepath.Join(state, pattern))
		if err != nil {
			t.Fatal(err)
		}
		bad = append(bad, found...)
	}
	return bad
}

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

// An agent is killed at each step of a build, a lease and a removal. The next
// one leaves no litter, leases only whole environments, and builds the same.
func TestKilledAtEachStep(t *testing.T) {
	t.Parallel()
	bin := crashing(t)
	py := hostPython(t, SameUser)
	repo, _ := countingRepo(t)
	points := []string{
		"env.locked", "env.swept", "env.marked", "env.venv", "env.packages", "env.frozen", "env.manifest", "env.made",
		"env.recorded", "env.synced", "env.published", "env.leased", "test.leased",
		"env.remove.marked", "env.remove.moved", "env.remove.forgotten",
	}
	for _, point := range points {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			state := newState(t)
			withTools(t, state)
			req := Request{Python: py, Requirements: []string{"./"}, BaseDir: repo, UID: SameUser, GID: SameUser}
			out, err := agent(t, bin, order{State: state, Request: req, Discard: true}, "AGENTCTL_CRASH_AT="+point).CombinedOutput()
			var failed *exec.ExitError
			if !errors.As(err, &failed) || failed.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("the agent was not killed: %v\n%s", err, out)
			}
			c, err := Open(state, Options{Getenv: environ(nil)})
			if err != nil {
				t.Fatal(err)
			}
			if bad := litter(t, state); bad != nil {
				t.Fatalf("left over: %v", bad)
			}
			l := acquire(t, c, req)
			if got := python(t, l.Python, "-c", "import counted; print(counted.version)"); got != "1.0" {
				t.Fatalf("the package says %q", got)
			}
			if err := c.VerifyFully(t.Context(), l); err != nil {
				t.Fatal(err)
			}
			if bad := litter(t, state); bad != nil {
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
