package envcache

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// inRoot is another root whose only Pythons are those of a folder; it sees the rest
// of the host, as an image sees the state folder.
func inRoot(t *testing.T, names ...string) (*Root, *spy) {
	t.Helper()
	bin := t.TempDir()
	for _, n := range names {
		if err := os.Symlink(hostPython(t, SameUser).Path, filepath.Join(bin, n)); err != nil {
			t.Fatal(err)
		}
	}
	watch := &spy{Exec: imagePath{HostExec{}, bin}}
	return &Root{ID: "sha256:" + strings.Repeat("ab", 32), Exec: watch}, watch
}

// An environment for an image is built in the image, by its interpreter, and is
// another one than the host's.
func TestEnvironmentOfAnImage(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	x.add(wheel("one", "1.0"))
	x.add(sdist("two", "1.0", nil))
	host := &spy{Exec: HostExec{}}
	c := newCache(t, Options{Exec: host})
	needUV(t, c, SameUser)
	root, watch := inRoot(t, "python3")
	for _, manager := range []string{ManagerPip, ManagerUV} {
		req := uvRequest(t, x.url(), "one", "two")
		req.Manager = manager
		onHost := acquire(t, c, req)
		req.Root = root
		py, note, err := c.Python(t.Context(), PythonWish{}, req, nil)
		if err != nil || note != "" || py.Root != root.ID || py.PipWheel+py.PipFolder != "" {
			t.Fatalf("%+v, %q, %v", py, note, err)
		}
		req.Python = py
		before, inside := len(host.ran()), len(watch.ran())
		l := acquire(t, c, req)
		if l.Hit || l.Key == onHost.Key || !slices.Equal(l.Frozen, []string{"one==1.0", "two==1.0"}) {
			t.Errorf("%s: %+v", manager, l)
		}
		if n := len(host.ran()) - before; n > 0 || len(watch.ran()) == inside {
			t.Errorf("%s: %d programs ran on the host: %+v", manager, n, host.ran()[before:])
		}
		if again := acquire(t, c, req); !again.Hit || again.Key != l.Key {
			t.Errorf("%s: %s", manager, again.Why)
		}
		other := *root
		other.ID = "sha256:" + strings.Repeat("cd", 32)
		req.Root = &other
		if l := acquire(t, c, req); l.Hit || !strings.Contains(l.Why, "image") {
			t.Errorf("%s: another image: %s", manager, l.Why)
		}
	}
}

// The C library of an image is found by what the image has, and asked for once.
func TestGlibcOfAnImage(t *testing.T) {
	t.Parallel()
	c := newCache(t, Options{})
	for name, tc := range map[string]struct {
		says  map[string]string
		want  string
		fails string
	}{
		"a loader that tells": {says: map[string]string{"ld-linux-x86-64.so.2": "ld.so (Debian GLIBC 2.36-9+deb12u9) stable release version 2.36.\n"}, want: "2.36"},
		"another machine":     {says: map[string]string{"ld-linux-aarch64.so.1": "ld.so (GNU libc) stable release version 2.39.\n"}, want: "2.39"},
		"getconf":             {says: map[string]string{"getconf": "glibc 2.28\n"}, want: "2.28"},
		"ldd":                 {says: map[string]string{"ldd": "ldd (Debian GLIBC 2.31-13) 2.31\n", "getconf": "undefined\n"}, want: "2.31"},
		"musl":                {says: map[string]string{"ldd": "musl libc (x86_64)\nVersion 1.2.5\n"}, fails: "need the GNU C library"},
		"nothing":             {fails: "need the GNU C library"},
	} {
		t.Run(name, func(t *testing.T) {
			root := &Root{ID: name, Exec: says(tc.says)}
			got, err := c.finder.probes.glibcIn(t.Context(), root, SameUser, SameUser)
			if got != tc.want || (err == nil) != (tc.fails == "") || err != nil && !strings.Contains(err.Error(), tc.fails) {
				t.Fatalf("%q, %v", got, err)
			}
			root.Exec = says(nil)
			if again, err := c.finder.probes.glibcIn(t.Context(), root, SameUser, SameUser); again != got {
				t.Errorf("asked again: %q, %v", again, err)
			}
		})
	}
}

// says has programs, by their names, that print something.
type says map[string]string

func (s says) Run(_ context.Context, c Cmd) (Exit, error) {
	text, ok := s[filepath.Base(c.Args[0])]
	if !ok {
		return Exit{}, fs.ErrNotExist
	}
	_, err := io.WriteString(c.Stdout, text)
	return Exit{}, err
}

// The interpreter of an image is asked once, by the names that it may have.
func TestPythonOfAnImage(t *testing.T) {
	t.Parallel()
	c := newCache(t, Options{})
	has := hostPython(t, SameUser).Version
	minor := strings.Join(strings.Split(has, ".")[:2], ".")
	for name, tc := range map[string]struct {
		names         []string
		want, missing string
		fails, note   string
	}{
		"any":           {names: []string{"python3"}},
		"the old name":  {names: []string{"python"}},
		"its minor":     {names: []string{"python3"}, want: minor},
		"its program":   {names: []string{"python" + minor}, want: "python" + minor},
		"another":       {names: []string{"python3"}, want: "3.4", fails: "the image has no Python 3.4, but " + has},
		"the nearest":   {names: []string{"python3"}, want: "3.4", missing: OnMissingNearest, note: "Python 3.4 is not in the image: taking " + has},
		"a path":        {names: []string{"python3"}, want: "/nosuch/python" + minor},
		"none":          {fails: "the image has no Python in its PATH"},
		"not a version": {names: []string{"python3"}, want: "ruby", fails: `cannot find Python "ruby"`},
	} {
		t.Run(name, func(t *testing.T) {
			root, watch := inRoot(t, tc.names...)
			root.ID = name
			req := Request{Root: root, UID: SameUser, GID: SameUser}
			for range 2 {
				py, note, err := c.Python(t.Context(), PythonWish{Version: tc.want, OnMissing: tc.missing}, req, nil)
				if tc.fails != "" {
					if err == nil || !strings.Contains(err.Error(), tc.fails) {
						t.Fatalf("%+v, %v", py, err)
					}
					return
				}
				if err != nil || py.Version != has || !strings.HasPrefix(note, tc.note) || note != "" && tc.note == "" {
					t.Fatalf("%+v, %q, %v", py, note, err)
				}
			}
			n := len(watch.ran())
			if _, _, err := c.Python(t.Context(), PythonWish{Version: tc.want, OnMissing: tc.missing}, req, nil); err != nil || len(watch.ran()) != n {
				t.Errorf("asked again: %v", err)
			}
		})
	}
}

// imagePath finds programs without a path in one folder only.
type imagePath struct {
	Exec
	bin string
}

func (p imagePath) Run(ctx context.Context, c Cmd) (Exit, error) {
	if !strings.Contains(c.Args[0], "/") {
		c.Args = append([]string{filepath.Join(p.bin, c.Args[0])}, c.Args[1:]...)
	}
	return p.Exec.Run(ctx, c)
}

// Where another process makes the environments of an image, it is asked once; what it
// made is leased here, as another one than what this process would make.
func TestEnvironmentMadeAway(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	x.add(wheel("one", "1.0"))
	c := newCache(t, Options{})
	other, err := Open(c.state, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Close() })
	root, _ := inRoot(t, "python3")
	req := uvRequest(t, x.url(), "one")
	req.Manager = ManagerPip
	req.Root = root
	if req.Python, _, err = c.Python(t.Context(), PythonWish{}, req, nil); err != nil {
		t.Fatal(err)
	}
	own := acquire(t, c, req)
	asked, there := 0, *root
	there.Owner = "100000:100000"
	here := there
	here.Away = func(ctx context.Context, req Request, say func(Progress)) (bool, string, error) {
		asked++
		req.Root = &there
		l, err := other.Acquire(ctx, req, say)
		if err != nil {
			return false, "", err
		}
		return l.Hit, l.Why, l.Close()
	}
	req.Root = &here
	made := acquire(t, c, req)
	if made.Hit || asked != 1 || made.Key == own.Key || !slices.Equal(made.Frozen, own.Frozen) {
		t.Errorf("asked %d times: %+v", asked, made)
	}
	if hit := acquire(t, c, req); !hit.Hit || hit.Key != made.Key || asked != 1 {
		t.Errorf("asked %d times: %+v", asked, hit)
	}
	// Its files can't be read here: who asks for one in doubt has it examined there.
	_ = made.Close()
	if err := c.shelf.DoubtAll(); err != nil {
		t.Fatal(err)
	}
	if hit := acquire(t, c, req); !hit.Hit || hit.Key != made.Key || asked != 2 {
		t.Errorf("asked %d times: %+v", asked, hit)
	}
	failed := errors.New("no")
	here.Away = func(context.Context, Request, func(Progress)) (bool, string, error) { return false, "", failed }
	req.Requirements = []string{"two"}
	if _, err := c.Acquire(t.Context(), req, nil); !errors.Is(err, failed) {
		t.Errorf("err = %v", err)
	}
}
