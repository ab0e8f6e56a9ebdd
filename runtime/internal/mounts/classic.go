package mounts

import (
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/record"
)

// classic mounts by paths: a mount is made on a stage, a tmpfs in a folder of
// the run, kept open as a descriptor, and bound to its target through that, for
// by then the stage may be covered.
type classic struct {
	spec  Spec
	stage int // the stage's root, -1 before it is needed
	made  int
}

func (c *classic) anywhere() bool { return false }

// spot makes an empty file or folder on the stage.
func (c *classic) spot(dir bool) (string, error) {
	if c.stage < 0 {
		if err := os.MkdirAll(c.spec.Stage, 0o700); err != nil {
			return "", err
		}
		if err := unix.Mount(c.spec.Mark, c.spec.Stage, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0700,size=1m"); err != nil {
			return "", err
		}
		fd, err := unix.Open(c.spec.Stage, unix.O_PATH|unix.O_CLOEXEC|unix.O_DIRECTORY, 0)
		if err != nil {
			return "", err
		}
		c.stage = fd
	}
	c.made++
	path := filepath.Join(c.spec.Stage, strconv.Itoa(c.made))
	return path, mountPoint(piece{target: path, dir: dir})
}

// open keeps what was mounted at path.
func (c *classic) open(path string) (piece, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return piece{fd: -1}, err
	}
	return piece{fd: fd, dir: isDir(fd)}, nil
}

func (c *classic) overlay(o record.Overlay) (piece, error) {
	fds, closeAll, err := openPaths(o.Lower, o.UpperDir(), o.WorkDir())
	if err != nil {
		return piece{fd: -1}, err
	}
	defer closeAll()
	path, err := c.spot(true)
	if err != nil {
		return piece{fd: -1}, err
	}
	flags := c.spec.overlayOptions()
	err = unix.Mount(c.spec.Mark, path, "overlay", unix.MS_NOSUID|unix.MS_NODEV, joinOptions(flags, fds))
	if err != nil {
		err = unix.Mount(c.spec.Mark, path, "overlay", unix.MS_NOSUID|unix.MS_NODEV, joinOptions(flags[1:], fds))
	}
	if err != nil {
		return piece{fd: -1}, err
	}
	return c.open(path)
}

func (c *classic) bind(path string) (piece, error) {
	st, err := os.Stat(path)
	if err != nil {
		return piece{fd: -1}, err
	}
	spot, err := c.spot(st.IsDir())
	if err != nil {
		return piece{fd: -1}, err
	}
	if err := unix.Mount(path, spot, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return piece{fd: -1}, err
	}
	return c.open(spot)
}

func (c *classic) attach(p piece) error {
	return unix.Mount(fdPath(p.fd), p.target, "", unix.MS_BIND|unix.MS_REC, "")
}

func (c *classic) cover(path string) error {
	if _, err := os.Stat(path); err != nil {
		return err
	}
	return unix.Mount(c.spec.Mark, path, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0755,size=1m")
}

func (c *classic) protect(path string, all bool) error { return readOnly(path, all) }

// close takes the stage down, wherever it is by now.
func (c *classic) close() {
	if c.stage < 0 {
		return
	}
	_ = unix.Unmount(fdPath(c.stage), unix.MNT_DETACH)
	_ = unix.Close(c.stage)
}
