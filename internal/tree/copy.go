package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Copy copies the folder src to dst, which must not exist, and gives the copy
// to uid and gid (-1: stays). Modes, times and links are kept, blocks are
// shared where the file system can (reflink), hard links become files of their
// own: what a task writes must never reach the original. Sockets, FIFOs and
// devices are left out. skip, if not nil, names what is left out as well.
func Copy(ctx context.Context, src, dst string, uid, gid int, skip func(rel string) bool) error {
	if err := os.Mkdir(dst, 0o700); err != nil {
		return fmt.Errorf("cannot copy %s: %w", src, err)
	}
	root, err := os.OpenRoot(dst)
	if err != nil {
		return fmt.Errorf("cannot copy %s: %w", src, err)
	}
	defer func() { _ = root.Close() }()
	c := copier{ctx, root, uid, gid, skip}
	if err := Walk(src, c.visit, c.leave); err != nil {
		return fmt.Errorf("cannot copy %s: %w", src, err)
	}
	return nil
}

type copier struct {
	ctx      context.Context
	dst      *os.Root
	uid, gid int
	skip     func(string) bool
}

func (c copier) visit(n Node) error {
	if err := context.Cause(c.ctx); err != nil {
		return err
	}
	if c.skip != nil && c.skip(n.Rel) {
		return SkipDir
	}
	switch mode := n.Info.Mode(); {
	case mode.IsDir():
		if n.Rel == "." {
			return nil
		}
		return c.dst.Mkdir(n.Rel, 0o700)
	case mode.IsRegular():
		return c.file(n)
	case mode.Type() == fs.ModeSymlink:
		return c.link(n)
	}
	return nil
}

// leave gives a folder its mode and owner once it is full.
func (c copier) leave(n Node) error {
	if err := c.dst.Chmod(n.Rel, n.Info.Mode().Perm()); err != nil {
		return err
	}
	if err := c.own(n.Rel); err != nil {
		return err
	}
	return c.dst.Chtimes(n.Rel, n.Info.ModTime(), n.Info.ModTime())
}

func (c copier) own(rel string) error {
	if c.uid < 0 {
		return nil
	}
	return c.dst.Lchown(rel, c.uid, c.gid)
}

func (c copier) link(n Node) error {
	target, err := n.Dir.Readlink(n.Name)
	if err != nil {
		return err
	}
	if err := c.dst.Symlink(target, n.Rel); err != nil {
		return err
	}
	return c.own(n.Rel)
}

func (c copier) file(n Node) error {
	from, err := n.Open()
	if err != nil {
		return err
	}
	defer func() { _ = from.Close() }()
	to, err := c.dst.OpenFile(n.Rel, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = clone(to, from)
	if err == nil {
		err = to.Chmod(n.Info.Mode().Perm())
	}
	if err == nil && c.uid >= 0 {
		err = to.Chown(c.uid, c.gid)
	}
	if err = errors.Join(err, to.Close()); err != nil {
		return err
	}
	return c.dst.Chtimes(n.Rel, n.Info.ModTime(), n.Info.ModTime())
}

func clone(to, from *os.File) error {
	if unix.IoctlFileClone(int(to.Fd()), int(from.Fd())) == nil {
		return nil
	}
	_, err := io.Copy(to, from)
	return err
}
