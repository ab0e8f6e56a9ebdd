package repo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// childVar holds the order of an agent that this test's program plays.
const childVar = "REPO_TEST_AGENT"

type order struct {
	State  string
	Source Source
}

// playAgent acquires a checkout and prints "made KEY" or "hit KEY".
func playAgent() {
	var o order
	err := json.Unmarshal([]byte(os.Getenv(childVar)), &o)
	var s *Store
	if err == nil {
		s, err = Open(o.State, Options{})
	}
	var c *Checkout
	if err == nil {
		c, err = s.Acquire(context.Background(), o.Source, nil)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(map[bool]string{true: "hit", false: "made"}[c.Hit], c.Key)
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

func crashing(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "crashing")
	out, err := exec.Command("go", "test", "-c", "-tags", "crashpoints", "-o", bin, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("cannot build with crash points: %v\n%s", err, out)
	}
	return bin
}

func withSubmodule(t *testing.T) (*upstream, Source) {
	t.Helper()
	sub := newUpstream(t, map[string]string{"lib.py": "lib\n"})
	u := newUpstream(t, map[string]string{"a.py": "one\n"})
	u.git("submodule", "add", "-q", sub.dir, "libs/sub")
	src := u.source()
	src.Commit = u.commit("submodule")
	src.Diff = "diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-one\n+two\n"
	return u, src
}

func checkWhole(t *testing.T, c *Checkout) {
	t.Helper()
	if read(t, c, "a.py") != "two\n" || read(t, c, "libs/sub/lib.py") != "lib\n" {
		t.Fatal("not the files that were asked for")
	}
	if got := in(t, c.Path, "status", "--porcelain"); got != " M a.py" {
		t.Fatalf("status: %q", got)
	}
	if got := in(t, c.Path, "fsck"); got != "" {
		t.Fatalf("fsck: %s", got)
	}
}

// An agent is killed at each step. The next one leaves no litter, leases only
// whole checkouts, and a mirror that was being written is sound.
func TestKilledAtEachStep(t *testing.T) {
	bin := crashing(t)
	_, src := withSubmodule(t)
	for _, point := range []string{
		"mirror.locked", "mirror.marked", "mirror.made", "mirror.recorded", "mirror.synced", "mirror.published", "mirror.leased",
		"mirror.initialized", "mirror.fetching", "mirror.fetched", "mirror.fetched#2",
		"checkout.locked", "checkout.swept", "checkout.marked", "checkout.cloned", "checkout.cloned#2", "checkout.tree", "checkout.patched",
		"checkout.made", "checkout.recorded", "checkout.synced", "checkout.published", "checkout.leased",
	} {
		t.Run(point, func(t *testing.T) {
			t.Parallel()
			state := newState(t)
			out, err := agent(t, bin, order{state, src}, "AGENTCTL_CRASH_AT="+point).CombinedOutput()
			var failed *exec.ExitError
			if !errors.As(err, &failed) || failed.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
				t.Fatalf("the agent was not killed: %v\n%s", err, out)
			}
			s, err := Open(state, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if left := litter(t, s); left != nil {
				t.Fatalf("left over: %v", left)
			}
			checkWhole(t, acquire(t, s, src))
		})
	}
}

func TestMadeOnceForAll(t *testing.T) {
	_, src := withSubmodule(t)
	watch := newSpy()
	s := newStore(t, Options{Exec: watch})
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for range 8 {
		wg.Go(func() {
			c, err := s.Acquire(t.Context(), src, nil)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if !c.Hit {
				made++
			}
			_ = c.Close()
		})
	}
	for range 2 {
		wg.Go(func() {
			out, err := agent(t, os.Args[0], order{s.state, src}).CombinedOutput()
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
			mu.Lock()
			defer mu.Unlock()
			if strings.HasPrefix(string(out), "made") {
				made++
			}
		})
	}
	wg.Wait()
	if made != 1 {
		t.Fatalf("made %d times", made)
	}
	checkWhole(t, acquire(t, s, src))
}

// Different commits of one repository at once: one mirror, fetched by one at a
// time.
func TestManyCommitsAtOnce(t *testing.T) {
	u := newUpstream(t, map[string]string{"n": "0"})
	var commits []string
	for i := range 6 {
		u.write(map[string]string{"n": fmt.Sprint(i + 1)})
		commits = append(commits, u.commit("next"))
	}
	s := newStore(t, Options{})
	var wg sync.WaitGroup
	for i, id := range commits {
		wg.Go(func() {
			src := u.source()
			src.Commit = id
			c, err := s.Acquire(t.Context(), src, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if data, err := os.ReadFile(filepath.Join(c.Path, "n")); err != nil || string(data) != fmt.Sprint(i+1) {
				t.Errorf("%q, %v", data, err)
			}
		})
	}
	wg.Wait()
}

// Whatever happens to a mirror, the next use repairs it.
func TestDamagedMirrors(t *testing.T) {
	for name, damage := range map[string]string{
		"unfinished fetch":           "touch busy repo.git/packed-refs.lock repo.git/HEAD.lock repo.git/objects/pack/tmp_pack_x",
		"unfinished, objects gone":   "touch busy; rm -f repo.git/objects/pack/*.pack; find repo.git/objects -type f | head -1 | xargs rm -f",
		"objects gone":               "find repo.git/objects -type f -delete",
		"HEAD gone":                  "rm repo.git/HEAD",
		"all gone":                   "rm -rf repo.git",
		"an object is empty":         "chmod -R u+w repo.git; for f in $(find repo.git/objects -type f); do : > $f; done",
		"an object is of other bits": "chmod -R u+w repo.git; for f in $(find repo.git/objects -type f); do printf 'garbage' > $f; done",
		"refs are garbage":           "rm -f repo.git/packed-refs; for f in $(find repo.git/refs -type f); do echo garbage > $f; done; rm -f repo.git/objects/pack/*",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newUpstream(t, map[string]string{"a.py": "one\n", "b.py": "bbb\n"})
			s := newStore(t, Options{})
			src := u.source()
			src.Commit = u.git("rev-parse", "HEAD")
			_ = acquire(t, s, src).Close()
			mirrors, _ := filepath.Glob(filepath.Join(s.mirrors.Dir(), "*", "lock"))
			if len(mirrors) != 1 {
				t.Fatal(mirrors)
			}
			cmd := exec.Command("sh", "-ec", damage)
			cmd.Dir = filepath.Dir(mirrors[0])
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if err := s.checkouts.Remove(keyOfSource(t, s, src)); err != nil {
				t.Fatal(err)
			}
			c := acquire(t, s, src)
			if c.Hit || read(t, c, "a.py") != "one\n" || in(t, c.Path, "fsck") != "" {
				t.Fatalf("%+v", c)
			}
		})
	}
}

func keyOfSource(t *testing.T, s *Store, src Source) string {
	t.Helper()
	r, err := s.check(t.Context(), src, nil)
	if err != nil {
		t.Fatal(err)
	}
	return keyOf(r, src.Commit)
}
