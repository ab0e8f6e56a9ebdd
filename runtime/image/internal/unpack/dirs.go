package unpack

import (
	"errors"
	"os"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// mostDirs is how many folders stay open: a stream goes through them in order, and
// comes back to those it was in last.
const mostDirs = 64

// dir is an open folder, shared by the reader and the writers of its files.
type dir struct {
	fd    int
	users atomic.Int32
}

func (d *dir) use() *dir {
	d.users.Add(1)
	return d
}

func (d *dir) done() {
	if d.users.Add(-1) == 0 {
		_ = unix.Close(d.fd)
	}
}

// dirs opens the folders of a layer.
type dirs struct {
	top    *os.File
	cached []*node
}

// of gives the open folder of a node. It stays valid until the next call, longer for
// who uses it.
func (d *dirs) of(n *node) (*dir, error) {
	if n.open != nil {
		return n.open, nil
	}
	fd, err := openDir(int(d.top.Fd()), n.rel(), unix.O_PATH)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: n.rel(), Err: err}
	}
	if len(d.cached) >= mostDirs {
		d.flush()
	}
	n.open = (&dir{fd: fd}).use()
	d.cached = append(d.cached, n)
	return n.open, nil
}

// flush closes all folders that no writer uses.
func (d *dirs) flush() {
	for _, n := range d.cached {
		n.open.done()
		n.open = nil
	}
	d.cached = d.cached[:0]
}

// openDir opens the folder rel below top, through no link. rel is clean and local.
func openDir(top int, rel string, flags int) (int, error) {
	flags |= unix.O_DIRECTORY | unix.O_CLOEXEC
	how := unix.OpenHow{Flags: uint64(flags), Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	for {
		fd, err := unix.Openat2(top, rel, &how)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR): // a rename elsewhere
			continue
		case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM): // before Linux 5.6, or a filter of system calls
			return stepwise(top, rel, flags)
		}
		return fd, err
	}
}

// stepwise opens a folder name by name.
func stepwise(top int, rel string, flags int) (int, error) {
	at, err := unix.Openat(top, ".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	names := strings.Split(rel, "/")
	for i, name := range names {
		f := unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC
		if i == len(names)-1 {
			f = flags
		}
		next, err := unix.Openat(at, name, f|unix.O_NOFOLLOW, 0)
		_ = unix.Close(at)
		if err != nil {
			return -1, err
		}
		at = next
	}
	return at, nil
}
