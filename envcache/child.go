package envcache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"agentctl/envcache/internal/relocate"
)

// ChildEnv is an environment of a task's own in place of a leased one.
type ChildEnv struct {
	Path     string   // the environment
	Python   string   // its bin/python
	PathDirs []string // what goes to the front of PATH, in order: the child's programs, then the base's
	// Variables that the task starts with, in place of those of the lease.
	Variables []string
}

// basePthName is the file that shows the base's packages in a thin environment.
const basePthName = "_agentctl_base.pth"

// Child makes a thin environment over l in the folder dir, which must not exist
// yet, for hosts where l can't be mounted privately: a virtual environment of
// its own, owned by uid and gid, that sees the packages of l. What a task
// installs goes to the child and counts first. The programs of l are reached
// by PATH and run in l itself.
//
// Of an environment of conda it makes a copy: much of what conda installs is found
// by its place, and belongs to the task only there. One that can't be moved gets a
// thin environment all the same.
//
// Nothing but the rights of the files keeps a task of the same user from
// writing to l: Verify tells afterwards, and Discard throws a changed one away.
func (c *Cache) Child(ctx context.Context, l *Lease, dir string, uid, gid int) (ChildEnv, error) {
	if l.held.Entry.Manager == ManagerConda {
		child, err := c.childCopy(ctx, l, dir, uid, gid)
		var fixed *relocate.FixedError
		switch {
		case errors.As(err, &fixed):
			c.opts.Log.Warn("environment can't be copied for a task, which gets a thin one", "env", l.Key, "error", err)
		case err != nil:
			return ChildEnv{}, fmt.Errorf("cannot copy the environment for the task: %w", err)
		default:
			return child, nil
		}
	}
	child := ChildEnv{dir, filepath.Join(dir, "bin", "python"), []string{filepath.Join(dir, "bin"), filepath.Join(l.Path, "bin")}, l.Variables}
	if err := c.child(l, dir, uid, gid); err != nil {
		return ChildEnv{}, fmt.Errorf("cannot make a thin environment: %w", err)
	}
	return child, nil
}

func (c *Cache) child(l *Lease, dir string, uid, gid int) error {
	base, err := os.OpenRoot(l.Path)
	if err != nil {
		return err
	}
	defer func() { _ = base.Close() }()
	sites, err := sitePackages(base)
	if err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	w := childWriter{base: base, root: root, uid: -1}
	if switches(uid) {
		w.uid, w.gid = uid, max(gid, 0)
	}
	for _, d := range []string{"bin", "lib", path.Dir(sites), sites} {
		w.mkdir(d)
	}
	w.copy("pyvenv.cfg")
	w.copy("pip.conf")
	w.link("lib64", "lib")
	w.interpreters()
	w.write(path.Join(sites, basePthName), "import site; site.addsitedir("+strconv.QuoteToASCII(filepath.Join(l.Path, sites))+")\n", 0o644)
	for _, name := range []string{"pip", "pip3"} {
		w.write("bin/"+name, pipScript(filepath.Join(dir, "bin", "python")), 0o755)
	}
	for _, d := range []string{sites, path.Dir(sites), "lib", "bin", "."} {
		w.own(d)
	}
	return w.err
}

// childWriter writes the few files of a thin environment; the first error
// sticks.
type childWriter struct {
	base, root *os.Root
	uid, gid   int // uid -1: files stay this process's
	err        error
}

func (w *childWriter) do(err error) {
	if w.err == nil {
		w.err = err
	}
}

func (w *childWriter) own(name string) {
	if w.err == nil && w.uid >= 0 {
		w.do(w.root.Lchown(name, w.uid, w.gid))
	}
}

// mkdir makes a folder; it is given away last, when it is full.
func (w *childWriter) mkdir(name string) {
	if w.err == nil {
		w.do(w.root.Mkdir(name, 0o755))
	}
}

func (w *childWriter) write(name, text string, perm fs.FileMode) {
	if w.err == nil {
		w.do(w.root.WriteFile(name, []byte(text), perm))
		w.own(name)
	}
}

func (w *childWriter) link(name, target string) {
	if w.err == nil {
		w.do(w.root.Symlink(target, name))
		w.own(name)
	}
}

func (w *childWriter) copy(name string) {
	data, err := w.base.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	w.do(err)
	w.write(name, string(data), 0o644)
}

// interpreters copies the links python, python3 and python3.N.
func (w *childWriter) interpreters() {
	files, err := fs.ReadDir(w.base.FS(), "bin")
	w.do(err)
	for _, f := range files {
		if f.Type() != fs.ModeSymlink || !strings.HasPrefix(f.Name(), "python") {
			continue
		}
		target, err := w.base.Readlink("bin/" + f.Name())
		w.do(err)
		w.link("bin/"+f.Name(), target)
	}
}
