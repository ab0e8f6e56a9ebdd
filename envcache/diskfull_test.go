package envcache

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// smallDisk is a state folder on a disk of its own.
func smallDisk(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small disk")
	}
	state := newState(t)
	if err := syscall.Mount("tmpfs", state, "tmpfs", 0, "size=32m,mode=755"); err != nil {
		t.Skipf("a small disk can't be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(state, syscall.MNT_DETACH) })
	return state
}

// fillDisk leaves a number of bytes of the disk; a negative one leaves all.
func fillDisk(state string, leave int64) error {
	ballast := filepath.Join(state, "ballast")
	if err := os.Remove(ballast); err != nil && !errors.Is(err, os.ErrNotExist) || leave < 0 {
		return err
	}
	f, err := os.Create(ballast)
	if err != nil {
		return err
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(state, &st); err != nil {
		return err
	}
	if n := int64(st.Bavail)*st.Bsize - leave; n > 0 {
		err = syscall.Fallocate(int(f.Fd()), 0, 0, n)
	}
	return errors.Join(err, f.Close())
}

// filler fills the disk before it runs a program whose arguments hold a word.
type filler struct {
	Exec
	state string
	word  string
	leave int64
}

func (f *filler) Run(ctx context.Context, c Cmd) (Exit, error) {
	if f.word != "" && strings.Contains(strings.Join(c.Args, " "), f.word) {
		if err := fillDisk(f.state, f.leave); err != nil {
			return Exit{}, fmt.Errorf("cannot fill the disk: %w", err)
		}
	}
	return f.Exec.Run(ctx, c)
}

// bigWheel is a wheel of a megabyte that does not get smaller, and of a module
// whose bytecode is large.
func bigWheel(t *testing.T, name string) (file string, data []byte) {
	t.Helper()
	file, data = wheel(name, "1.0")
	noise := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise)
	return file, addToWheel(t, data, map[string][]byte{
		name + ".bin": noise, name + "_table.py": []byte("table = [" + strings.Repeat("'abcdefgh',", 30000) + "]\n"),
	})
}

// The disk fills up while pip and the other programs of a build work: the error says
// so, nothing of the build stays, and what was there still works, at once.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	state := smallDisk(t)
	withTools(t, state)
	exec := &filler{Exec: HostExec{}, state: state}
	c, err := Open(state, Options{Getenv: environ(nil), Exec: exec})
	if err != nil {
		t.Fatal(err)
	}
	x := newIndexServer(t, "", "")
	x.add(wheel("small", "1.0"))
	x.add(bigWheel(t, "big"))
	req := Request{Python: hostPython(t, SameUser), IndexURL: x.url(), UID: SameUser, GID: SameUser}
	small := acquire(t, c, req.with("small"))
	seen := map[string]bool{}
	for _, at := range []struct {
		word  string
		leave int64
		step  string // that fails
	}{
		{"venv", 0, "venv"},
		{" install ", 0, "pip"},
		{" install ", 700 << 10, "pip"},  // while it downloads
		{" install ", 1900 << 10, "pip"}, // while it unpacks
		{"marshal.dumps", 0, "compile"},
		{"marshal.dumps", 64 << 10, "compile"},
	} {
		exec.word, exec.leave = at.word, at.leave
		_, err := c.Acquire(t.Context(), req.with("big"), nil)
		name := fmt.Sprintf("%s with %d bytes left", strings.TrimSpace(at.word), at.leave)
		if err == nil || !strings.Contains(err.Error(), "the disk is full") || !strings.Contains(err.Error(), "environment: "+at.step) {
			t.Errorf("%s: %v", name, err)
		} else {
			seen[err.Error()] = true
		}
		if bad := litter(t, state); bad != nil {
			t.Errorf("%s: left over: %v", name, bad)
		}
		if l := acquire(t, c, req.with("small")); !l.Hit || l.Key != small.Key {
			t.Errorf("%s: %s", name, l.Why)
		}
		if err := errors.Join(fillDisk(state, -1), os.RemoveAll(filepath.Join(state, "cache"))); err != nil {
			t.Fatal(err)
		}
	}
	exec.word = ""
	if l := acquire(t, c, req.with("big")); l.Hit || l.Bytes < 1<<20 || python(t, l.Python, "-c", "import big_table; print(len(big_table.table))") != "30000" {
		t.Fatalf("%+v", l)
	}
}

// The disk is full at each write of a build: after one page more it gets one write
// further, until it succeeds.
func TestDiskFullAtEachWrite(t *testing.T) {
	t.Parallel()
	x := stressed{smallDisk(t), newState(t)}
	c := x.open(t)
	kept, err := c.Acquire(t.Context(), quickRequest("kept"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	if _, err := c.Collect(t.Context(), Limits{}); err != nil {
		t.Fatal(err)
	}
	page := int64(os.Getpagesize())
	failures := map[string]int{}
	built := false
	for pages := int64(0); !built; pages++ {
		if pages > 200 {
			t.Fatal("200 pages are not enough")
		}
		if err := fillDisk(x.state, pages*page); err != nil {
			t.Fatal(err)
		}
		l, err := c.Acquire(t.Context(), quickRequest("wanted==1.0"), nil)
		if built = err == nil; built {
			err = errors.Join(quickCheck(t.Context(), c, l, []string{"wanted"}), l.Close())
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		if !strings.Contains(err.Error(), "the disk is full") {
			t.Errorf("with %d pages: %v", pages, err)
		}
		failures[lastName(err)]++
		if bad := litter(t, x.state); bad != nil {
			t.Fatalf("with %d pages, left over: %v", pages, bad)
		}
		if l, err := c.Acquire(t.Context(), quickRequest("kept"), nil); err != nil || !l.Hit || l.Close() != nil {
			t.Fatalf("with %d pages: %v", pages, err)
		}
	}
	t.Logf("failed at %v", failures)
	for _, what := range []string{".partial", ".manifest", ".alias", ".json"} {
		if failures[what] == 0 {
			t.Errorf("no build failed at its file %s: %v", what, failures)
		}
	}
}

// lastName is the kind of the file that an error is about, or its program.
func lastName(err error) string {
	var at *os.PathError
	if errors.As(err, &at) {
		name, _, _ := strings.Cut(filepath.Base(at.Path), ".tmp-")
		return filepath.Ext(name)
	}
	var failed *BuildError
	if errors.As(err, &failed) {
		return failed.Step
	}
	return err.Error()
}

// On a full disk environments are thrown away and collected as ever, or it would
// stay full.
func TestAFullDiskCanBeCleared(t *testing.T) {
	t.Parallel()
	x := stressed{smallDisk(t), newState(t)}
	c := x.open(t)
	leases := map[string]*Lease{}
	for _, name := range []string{"old==1.0", "changed==1.0", "young==1.0"} {
		l, err := c.Acquire(t.Context(), quickRequest(name), nil)
		if err != nil {
			t.Fatal(err)
		}
		leases[name] = l
	}
	_, _ = leases["old==1.0"].Close(), leases["young==1.0"].Close()
	if err := fillDisk(x.state, 0); err != nil {
		t.Fatal(err)
	}
	changed := leases["changed==1.0"]
	if err := os.Remove(quickFile(changed.Path, "changed")); err != nil {
		t.Fatal(err)
	}
	if err := fillDisk(x.state, 0); err != nil {
		t.Fatal(err)
	}
	err := c.Audit(t.Context(), changed.Key)
	var found *Changed
	if !errors.As(err, &found) {
		t.Fatalf("err = %v", err)
	}
	if l, err := c.Acquire(t.Context(), quickRequest("changed==1.0"), nil); err == nil {
		t.Fatalf("leased what was changed: %+v", l)
	}
	if done, err := c.Collect(t.Context(), Limits{MaxEntries: 1}); err != nil || len(done.Removed) == 0 {
		t.Fatalf("%+v, %v", done, err)
	}
	_ = changed.Close()
	if done, err := c.Collect(t.Context(), Limits{MaxEntries: 1}); err != nil || done.Kept != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	if bad := litter(t, x.state); bad != nil {
		t.Fatalf("left over: %v", bad)
	}
	if err := fillDisk(x.state, -1); err != nil {
		t.Fatal(err)
	}
	x.sound(t)
	// An agent starts on a full disk, after a power cut, too.
	if err := errors.Join(c.users.Unlock(), anotherUptime(x.state), fillDisk(x.state, 0)); err != nil {
		t.Fatal(err)
	}
	c = x.open(t)
	defer func() { _ = c.Close() }()
	if done, err := c.Recheck(t.Context()); err != nil || done.Whole == 0 || len(done.Removed) > 0 {
		t.Fatalf("%+v, %v", done, err)
	}
}
