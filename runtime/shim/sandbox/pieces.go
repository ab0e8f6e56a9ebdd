package sandbox

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// piece is a mount that is attached to nothing yet. It is made on a thread that
// sees the host's mounts, and attached by one that sees the shim's own.
type piece struct {
	fd  int
	dir bool
}

func (p piece) close() { _ = unix.Close(p.fd) }

// Ways of cloning.
const (
	deep   = 1 << iota // with what is mounted below
	follow             // through symbolic links
)

// clone is another view of what lies at path. It follows no later mount of the
// host. A path whose folders others may write is opened without following links:
// they could lead it elsewhere.
func clone(path string, how int, attrs uint64) (piece, error) {
	open := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS}
	if how&follow == 0 {
		open.Resolve |= unix.RESOLVE_NO_SYMLINKS
	}
	fd, err := unix.Openat2(unix.AT_FDCWD, path, &open)
	if errors.Is(err, unix.ELOOP) && how&follow == 0 {
		err = errors.New("it leads through a symbolic link: name the folder itself")
	}
	if err != nil {
		return piece{}, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	var all uint
	if how&deep != 0 {
		all = unix.AT_RECURSIVE
	}
	tree, err := unix.OpenTree(fd, "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH|all)
	if err != nil {
		return piece{}, &fs.PathError{Op: "open_tree", Path: path, Err: err}
	}
	attr := unix.MountAttr{Attr_set: attrs, Propagation: unix.MS_PRIVATE}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|all, &attr); err != nil {
		_ = unix.Close(tree)
		return piece{}, &fs.PathError{Op: "mount_setattr", Path: path, Err: err}
	}
	return piece{fd: tree, dir: isDir(tree)}, nil
}

// lower is a read-only view of a folder, its owners in the range of ns; nil
// leaves them.
func lower(folder string, how int, ns *os.File) (piece, error) {
	p, err := clone(folder, how, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err == nil && !p.dir {
		p.close()
		err = &fs.PathError{Op: "mount", Path: folder, Err: unix.ENOTDIR}
	}
	if err != nil || ns == nil {
		return p, err
	}
	if err := mapOwners(p.fd, ns); err != nil {
		p.close()
		return p, &fs.PathError{Op: "mount", Path: folder, Err: err}
	}
	return p, nil
}

// attach puts a piece to a path that is made for it.
func (p piece) attach(path string) error {
	if err := spot(path, p.dir); err != nil {
		return err
	}
	err := unix.MoveMount(p.fd, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH)
	if err != nil {
		return &fs.PathError{Op: "move_mount", Path: path, Err: err}
	}
	return nil
}

// spot makes a place to mount to.
func spot(path string, dir bool) error {
	if dir {
		return os.MkdirAll(path, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

func isDir(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// uppers makes the two folders of an overlay in dir. The upper one may be there
// and filled; the view's root gets its owner and mode.
func uppers(dir string, owner int, mode os.FileMode) error {
	upper, work := filepath.Join(dir, "upper"), filepath.Join(dir, "work")
	if err := os.MkdirAll(upper, 0o700); err != nil {
		return err
	}
	// overlayfs takes no folder that was in use and not unmounted in order.
	if err := os.RemoveAll(work); err != nil {
		return err
	}
	return errors.Join(os.Mkdir(work, 0o700), os.Lchown(upper, owner, owner), os.Chmod(upper, mode))
}
