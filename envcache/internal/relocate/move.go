package relocate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"agentctl/internal/tree"
)

// Move is a move of an environment. Its files are at their new place already;
// they still speak of the old one.
type Move struct {
	Old, New string
	// Skip, if not nil, names files that are to be left as they are.
	Skip func(rel string) bool
}

// Moved tells what was changed.
type Moved struct {
	Files int
	// Sources are Python files that were rewritten. Their bytecode is gone: Python
	// would go by size and time, and take it for current.
	Sources []string
}

// FixedError names files that hold the old path in a way that can't be changed.
type FixedError struct {
	Old   string
	Files []string
}

// Error names the first files.
func (e *FixedError) Error() string {
	names := e.Files
	if more := len(names) - mostNamed; more > 0 {
		names = append(slices.Clone(names[:mostNamed]), fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf("these files hold the path %s and can't be changed: %s", e.Old, strings.Join(names, ", "))
}

const mostNamed = 10

// Tree makes the environment in the folder top, which was made at m.Old, one
// that was made at m.New. An error leaves it half moved.
func Tree(ctx context.Context, top string, m Move) (Moved, error) {
	if !path.IsAbs(m.Old) || !path.IsAbs(m.New) || path.Clean(m.Old) == "/" {
		return Moved{}, fmt.Errorf("cannot move an environment from %q to %q: the paths are not absolute", m.Old, m.New)
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return Moved{}, err
	}
	defer func() { _ = root.Close() }()
	slots, err := placeholders(root)
	if err != nil {
		return Moved{}, err
	}
	t := mover{Move: m, root: root, slots: slots}
	if err := t.run(ctx, top); err != nil {
		return Moved{}, err
	}
	slices.Sort(t.fixed)
	slices.Sort(t.done.Sources)
	if len(t.fixed) > 0 {
		return Moved{}, &FixedError{m.Old, t.fixed}
	}
	return t.done, nil
}

type mover struct {
	Move
	root  *os.Root
	slots map[string]slot // of conda's packages

	mu    sync.Mutex
	done  Moved
	fixed []string
}

// run looks at every file, a few at a time: most are only read.
func (t *mover) run(ctx context.Context, top string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	err := tree.Walk(top, func(n tree.Node) error {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		switch mode := n.Info.Mode(); {
		case t.Skip != nil && t.Skip(n.Rel):
		case mode.Type() == fs.ModeSymlink:
			return t.link(n)
		case mode.IsRegular() && !asItIs(n.Rel):
			g.Go(func() error { return t.file(n.Rel) })
		}
		return nil
	}, nil)
	return errors.Join(g.Wait(), err)
}

// asItIs tells whether a file is not looked at, whatever it holds.
func asItIs(rel string) bool {
	return strings.HasSuffix(rel, ".pyc") || path.Base(rel) == "RECORD" && strings.HasSuffix(path.Dir(rel), ".dist-info")
}

// link turns an absolute link into the old place to the new one.
func (t *mover) link(n tree.Node) error {
	target, err := n.Dir.Readlink(n.Name)
	if err != nil {
		return err
	}
	rest, ok := strings.CutPrefix(target, t.Old)
	if !ok || rest != "" && rest[0] != '/' {
		return nil
	}
	uid, gid := tree.Owner(n.Info)
	err = n.Dir.Remove(n.Name)
	if err == nil {
		err = n.Dir.Symlink(t.New+rest, n.Name)
	}
	if err == nil && os.Geteuid() == 0 {
		err = n.Dir.Lchown(n.Name, uid, gid)
	}
	t.changed("")
	return err
}

// file changes one file if it holds the old path.
func (t *mover) file(rel string) error {
	f, err := tree.Node{Dir: t.root, Name: rel, Rel: rel}.Open()
	if err != nil {
		return err
	}
	at, text, err := search(f, []byte(t.Old))
	_ = f.Close()
	if err != nil || at == nil {
		return err
	}
	slot, packaged := t.slots[rel]
	switch {
	case text, packaged && !slot.binary:
		err = t.edit(rel, t.text)
	case packaged:
		err = t.edit(rel, func(f *os.File) error { return patch(f, at, []byte(t.Old), []byte(t.New), slot.length) })
	default:
		err = errFixed
	}
	if errors.Is(err, errFixed) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.fixed = append(t.fixed, rel)
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot change %s: %w", rel, err)
	}
	if !strings.HasSuffix(rel, ".py") {
		t.changed("")
		return nil
	}
	t.changed(rel)
	return t.forgetBytecode(rel)
}

func (t *mover) changed(source string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done.Files++
	if source != "" {
		t.done.Sources = append(t.done.Sources, source)
	}
}

// edit opens a file for change and keeps its mode and times.
func (t *mover) edit(rel string, change func(*os.File) error) error {
	was, err := t.root.Lstat(rel)
	if err != nil {
		return err
	}
	// A file with another name elsewhere must not be written: who knows what it is.
	if !was.Mode().IsRegular() || tree.Shared(was) {
		return errFixed
	}
	if was.Mode().Perm()&0o200 == 0 {
		if err := t.root.Chmod(rel, was.Mode().Perm()|0o200); err != nil {
			return err
		}
	}
	f, err := t.root.OpenFile(rel, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	now, err := f.Stat()
	if err == nil && !os.SameFile(was, now) {
		err = errors.New("it was replaced in the meantime")
	}
	if err == nil {
		err = change(f)
	}
	if err == nil {
		err = f.Chmod(was.Mode().Perm())
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return t.root.Chtimes(rel, was.ModTime(), was.ModTime())
}
