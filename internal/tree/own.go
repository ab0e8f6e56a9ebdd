package tree

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// Publish makes a tree readable for everybody and gives it to uid and gid (-1:
// stays). The agent's umask, which may be 077, thus has no say in what a task
// can read. Files with more than one name keep their owner: they are shared
// with a mirror and must not be given away.
func Publish(top string, uid, gid int) error {
	own := func(n Node) error {
		if uid < 0 {
			return nil
		}
		return n.Dir.Lchown(n.Name, uid, gid)
	}
	visit := func(n Node) error {
		mode := n.Info.Mode()
		switch {
		case mode.IsDir(), mode.Type() == fs.ModeSymlink:
			if mode.IsDir() {
				return n.Dir.Chmod(n.Name, mode.Perm()|0o755)
			}
			return own(n)
		case !mode.IsRegular() || Shared(n.Info):
			return nil
		}
		if want := mode.Perm() | 0o444 | (mode.Perm()&0o100)>>3 | (mode.Perm()&0o100)>>6; want != mode.Perm() {
			if err := n.Dir.Chmod(n.Name, want); err != nil {
				return err
			}
		}
		return own(n)
	}
	// A folder is given away after its content: from then on its owner may change it.
	return Walk(top, visit, own)
}

// Shared tells that a file has more than one name.
func Shared(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink > 1 && info.Mode().IsRegular()
}

// Elevated removes what Remove may not, if it is not nil: what belongs to users of a
// range of ids of an agent that is not root. A program sets it once, at its start.
var Elevated func(top string) error

// Remove removes a tree, folders without write permission included: packages
// and Go-like caches leave such folders.
func Remove(top string) error {
	err := remove(top)
	if errors.Is(err, fs.ErrPermission) && Elevated != nil {
		return Elevated(top)
	}
	return err
}

func remove(top string) error {
	if err := os.RemoveAll(top); err == nil {
		return nil
	}
	_ = Walk(top, func(n Node) error {
		if n.Info.IsDir() {
			_ = n.Dir.Chmod(n.Name, 0o700)
		}
		return nil
	}, nil)
	return os.RemoveAll(top)
}

// Owner is who a file belongs to; -1, -1 if that can't be told.
func Owner(info fs.FileInfo) (uid, gid int) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return -1, -1
	}
	return int(st.Uid), int(st.Gid)
}
