package tree

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Files opens the files of one tree by their paths, one system call each: a
// tree has ten thousand files.
type Files struct{ top *os.File }

// OpenFiles opens the tree at top.
func OpenFiles(top string) (Files, error) {
	f, err := os.OpenFile(top, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	return Files{f}, err
}

// Close closes the tree; files that were opened stay open.
func (t Files) Close() error { return t.top.Close() }

// Open opens a regular file for reading. It goes through no link and does not hang
// on a FIFO that took the file's place.
func (t Files) Open(rel string) (*os.File, error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	}
	fd, err := unix.Openat2(int(t.top.Fd()), rel, &how)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) { // before Linux 5.6, or a filter of system calls
		return t.openSlowly(rel)
	}
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: rel, Err: err}
	}
	f := os.NewFile(uintptr(fd), filepath.Join(t.top.Name(), rel))
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", rel)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func (t Files) openSlowly(rel string) (*os.File, error) {
	root, err := os.OpenRoot(t.top.Name())
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	return Node{Dir: root, Name: rel, Rel: rel}.Open()
}
