package envcache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// Root is another root file system than the host's that an environment is for, as
// of an image. The environment is built in it, at the path at which it stays.
type Root struct {
	// ID tells its content, as an image's digest. It is in the key.
	ID string
	// Exec runs programs in it. They see there, at their paths on the host, what the
	// Cmd names of the state folder.
	Exec Exec
	// Owner is who owns the environment, as UID:GID of the host; "": the Request's.
	Owner string
	// Away, if not nil, makes what is not here in another process, which may own files
	// as this one may not; it tells whether it was there after all, and why.
	Away func(ctx context.Context, req Request, say func(Progress)) (hit bool, why string, err error) `json:"-"`
}

// exec is what runs a program of a request's build.
func (c *Cache) exec(req Request, host bool) Exec {
	switch {
	case req.Root != nil && !host:
		return gentle{req.Root.Exec}
	case req.Host != nil:
		return gentle{req.Host}
	}
	return c.opts.Exec
}

// enclosed tells that programs of a request's build see of the state folder what
// they name only.
func (r Request) enclosed() bool { return r.Root != nil || r.Host != nil }

// pythonIn finds the interpreter of another root: one of the version that is
// wanted if there is one, by the names that it then has.
func (c *Cache) pythonIn(ctx context.Context, w PythonWish, req Request) (Interpreter, string, error) {
	want, err := parseWanted(w.Version)
	if err != nil {
		return Interpreter{}, "", err
	}
	names := []string{"python3", "python"}
	for n := range want.version {
		names = slices.Insert(names, 0, "python"+strings.Join(want.version[:n+1], "."))
	}
	if want.path != "" {
		names = slices.Insert(names, 0, want.path)
	}
	var found []Interpreter
	var failed error
	for _, name := range names {
		py, err := c.finder.probes.probeIn(ctx, req.Root, name, req.UID, req.GID)
		if ctx.Err() != nil {
			return Interpreter{}, "", context.Cause(ctx)
		}
		if err != nil {
			failed = err
			continue
		}
		if fits(py, want.version) {
			return py, "", nil
		}
		found = append(found, py)
	}
	switch {
	case len(found) == 0:
		return Interpreter{}, "", fmt.Errorf("the image has no Python in its PATH: use one that has, or a task that needs none: %w", failed)
	case w.OnMissing == OnMissingNearest:
		return found[0], fmt.Sprintf("Python %s is not in the image: taking %s", want, found[0]), nil
	}
	return Interpreter{}, "", fmt.Errorf("the image has no Python %s, but %s; choose another image, or write python.onMissing: nearest", want, found[0])
}

func fits(py Interpreter, version []string) bool {
	n := strings.Split(py.Version, ".")
	return len(version) <= len(n) && slices.Equal(n[:len(version)], version)
}

// probeIn describes the interpreter that name starts in another root.
func (p *prober) probeIn(ctx context.Context, root *Root, name string, uid, gid int) (Interpreter, error) {
	return p.once(ctx, identity{Path: root.ID + " " + name}, func() (Interpreter, error) { return p.askIn(ctx, root, name, uid, gid) })
}

func (p *prober) askIn(ctx context.Context, root *Root, name string, uid, gid int) (Interpreter, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	out, errs := &limited{most: mostAnswer}, &limited{most: mostAnswer}
	exit, err := root.Exec.Run(ctx, Cmd{
		Args: []string{name, "-I", "-c", probeScript}, Env: []string{"PATH=" + defaultPath, "HOME=/"}, Dir: "/",
		UID: uid, GID: gid, Stdout: out, Stderr: errs,
	})
	if err != nil {
		return Interpreter{}, err
	}
	var py struct {
		Interpreter
		Executable string `json:"executable"`
	}
	if exit.Code != 0 {
		return Interpreter{}, fmt.Errorf("%s of the image is no Python: %s", shorten(name), lastLine(errs.String(), fmt.Sprintf("exit status %d", exit.Code)))
	}
	err = json.Unmarshal(out.Bytes(), &py)
	if err != nil || py.Version == "" || py.Prefix == "" || !filepath.IsAbs(py.Executable) {
		return Interpreter{}, fmt.Errorf("%s of the image is no Python", shorten(name))
	}
	py.Path, py.Root = filepath.Clean(py.Executable), root.ID
	// These paths mean nothing on the host.
	py.PipWheel, py.PipFolder = "", ""
	return py.Interpreter, nil
}

var glibcVersion = regexp.MustCompile(`(?i)\b(?:glibc|release version) (\d+\.\d+)`)

// glibcIn is the version of the C library of another root: packages of conda bring
// all but that.
func (p *prober) glibcIn(ctx context.Context, root *Root, uid, gid int) (string, error) {
	py, err := p.once(ctx, identity{Path: root.ID + "\nlibc"}, func() (Interpreter, error) {
		for _, args := range [][]string{
			{"/lib64/ld-linux-x86-64.so.2", "--version"}, {"/lib/ld-linux-aarch64.so.1", "--version"}, {"getconf", "GNU_LIBC_VERSION"}, {"ldd", "--version"},
		} {
			out := &limited{most: mostAnswer}
			exit, err := root.Exec.Run(ctx, Cmd{Args: args, Env: []string{"PATH=" + defaultPath}, Dir: "/", UID: uid, GID: gid, Stdout: out})
			if ctx.Err() != nil {
				return Interpreter{}, context.Cause(ctx)
			}
			if m := glibcVersion.FindStringSubmatch(out.String()); err == nil && exit.Code == 0 && m != nil {
				return Interpreter{Libc: m[1], Root: root.ID}, nil
			}
		}
		return Interpreter{}, errors.New("packages of conda need the GNU C library, and the image has none: use another image, as one of Debian")
	})
	return py.Libc, err
}
