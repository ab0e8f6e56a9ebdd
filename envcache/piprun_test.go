package envcache

import (
	"context"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// lists is an Exec that remembers the lists that pip is given: the packages of
// each run, sorted, and whether it takes dependencies.
type lists struct {
	Exec
	mu   sync.Mutex
	runs []string
}

func (l *lists) Run(ctx context.Context, c Cmd) (Exit, error) {
	if i := slices.Index(c.Args, "-r"); i > 0 {
		text, err := os.ReadFile(c.Args[i+1])
		if err != nil {
			return Exit{}, err
		}
		var names []string
		for line := range strings.Lines(string(text)) {
			if r := parseLine(strings.TrimSpace(line)); r.name != "" {
				names = append(names, r.name)
			}
		}
		slices.Sort(names)
		if slices.Contains(c.Args, "--no-deps") {
			names = append(names, "alone")
		}
		l.mu.Lock()
		l.runs = append(l.runs, strings.Join(names, " "))
		l.mu.Unlock()
	}
	return l.Exec.Run(ctx, c)
}

func (l *lists) want(t *testing.T, runs ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.runs, runs) {
		t.Fatalf("runs of pip: %q, not %q", l.runs, runs)
	}
	l.runs = nil
}

// Packages are installed before and after the others, at the versions of the
// list, and the whole is one lock.
func TestPriorityAndPost(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	for _, p := range []string{"early", "Late_One", "middle"} {
		x.add(wheel(p, "1.0"))
		x.add(wheel(p, "2.0"))
	}
	x.add(wheel("needs", "1.0", "middle", "early"))
	seen := &lists{Exec: HostExec{}}
	c := newCache(t, Options{Exec: seen})
	req := Request{
		Python: hostPython(t, SameUser), IndexURL: x.url(), UID: SameUser, GID: SameUser,
		Priority: []string{"Early", "absent"}, Post: []string{"late.one"},
	}.with("late-one", "middle<2", "early==1.0", "needs")
	l := acquire(t, c, req)
	seen.want(t, "early", "early middle needs", "early late-one middle needs")
	want := []string{"early==1.0", "Late_One==2.0", "middle==1.0", "needs==1.0"}
	if !slices.Equal(l.Frozen, want) || l.Lock == nil || len(l.Lock.Packages) != 4 {
		t.Fatalf("frozen %q, lock %+v", l.Frozen, l.Lock)
	}
	// Wheels are the same in whatever order: the lock, without an order, gives them to all.
	locked := req
	locked.Lock, locked.Priority, locked.Post = l.Lock, nil, nil
	again := acquire(t, c, locked)
	if again.Hit || !slices.Equal(again.Frozen, want) {
		t.Fatalf("a lock that packages could have a say in leads to what they made: %+v", again)
	}
	seen.want(t, "early late-one middle needs alone")
	if clone := acquire(t, c, req.with(l.Frozen...)); !clone.Hit || clone.Key != again.Key {
		t.Fatalf("%+v", clone)
	}
	seen.want(t, "early", "early middle needs", "early late-one middle needs")
	req.Post = nil
	if other := acquire(t, c, req); !other.Hit || other.Key != again.Key {
		t.Fatalf("%+v", other)
	}
	seen.want(t, "early", "early late-one middle needs")
}

// With digests for all, a dependency may stand in a later group.
func TestPriorityWithDigests(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	x.add(wheel("needs", "1.0", "below"))
	x.add(wheel("below", "1.0"))
	seen := &lists{Exec: HostExec{}}
	c := newCache(t, Options{Exec: seen})
	req := Request{Python: hostPython(t, SameUser), IndexURL: x.url(), UID: SameUser, GID: SameUser}
	lock := acquire(t, c, req.with("needs")).Lock
	seen.want(t, "needs")
	other := newCache(t, Options{Exec: seen})
	req.Priority = []string{"needs"}
	l := acquire(t, other, req.with(append([]string{"--require-hashes"}, lock.Packages...)...))
	seen.want(t, "needs alone", "below needs")
	if !slices.Equal(l.Lock.Packages, lock.Packages) {
		t.Fatalf("%q", l.Lock.Packages)
	}
}

// pip takes digests for all packages or for none, and a commit has none.
func TestALockWithARepository(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	x.add(wheel("plain", "1.0"))
	x.add(sdist("fromsource", "3.0", nil))
	vcs, commit := gitRepo(t, project("fromgit", "8.0", nil))
	seen := &lists{Exec: HostExec{}}
	c := newCache(t, Options{Exec: seen})
	req := Request{Python: hostPython(t, SameUser), IndexURL: x.url(), UID: SameUser, GID: SameUser}
	first := acquire(t, c, req.with("plain", "fromsource", "fromgit @ git+file://"+vcs))
	if !first.Lock.Built || !strings.HasSuffix(first.Lock.Packages[0], "@"+commit) {
		t.Fatalf("%+v", first.Lock)
	}
	seen.want(t, "fromgit fromsource plain")
	req.Lock, req.Priority = first.Lock, []string{"fromgit", "fromsource"}
	again := acquire(t, c, req)
	if again.Hit || !slices.Equal(again.Lock.Packages, first.Lock.Packages) || len(again.Frozen) != 3 {
		t.Fatalf("%+v, lock %q", again, again.Lock.Packages)
	}
	seen.want(t, "fromsource alone", "fromgit alone", "plain alone")
	// A build may find other packages in another order.
	req.Priority = nil
	if other := acquire(t, c, req); other.Hit || other.Key == again.Key {
		t.Fatalf("%+v", other)
	}
}
