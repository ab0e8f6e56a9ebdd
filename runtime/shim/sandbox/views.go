package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"agentctl/internal/tree"
	"agentctl/runtime/internal/record"
)

// late is a mount that is moved into a sandbox which is there already.
type late struct {
	piece
	target string
}

// view is a late mount that is being made.
type view struct {
	target string
	made   chan viewed
}

// viewed is a view that is made, or, on kernels that make an overlay only of what
// has a place, what it is to be made of.
type viewed struct {
	whole *piece
	parts [2]piece // lower and upper
	err   error
}

// views begins making all that is to be mounted late, on threads that see the
// host's mounts.
func (p *parts) beginViews(run *record.Run) {
	p.given = make(chan error, 1)
	go func() { p.given <- give(run) }()
	for _, o := range run.Overlays {
		v := view{o.Target, make(chan viewed, 1)}
		p.views = append(p.views, v)
		go func() { v.made <- p.overlay(o, run) }()
	}
	for _, path := range run.Keep {
		v := view{path, make(chan viewed, 1)}
		p.views = append(p.views, v)
		go func() {
			b, err := clone(path, deep|follow, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
			v.made <- viewed{whole: &b, err: err}
		}()
	}
}

// give gives the run's user what is to be his own. Nothing of his runs yet, so
// nobody changes what is walked through.
func give(run *record.Run) error {
	base := run.Sandbox.IDs.Base
	own := func(n tree.Node) error { return n.Dir.Lchown(n.Name, base+max(run.UID, 0), base+max(run.GID, 0)) }
	for _, path := range run.Own {
		if err := tree.Walk(path, own, nil); err != nil {
			return fmt.Errorf("cannot give the task its folder: %w", err)
		}
	}
	return nil
}

// finish waits for the views and puts those together that need a place for it.
// What it has made is returned with an error too.
func (s *stage) finish(views []view) (pieces []late, failed error) {
	for i, v := range views {
		got := <-v.made
		if got.err == nil && got.whole == nil {
			var whole piece
			whole, got.err = s.overlay(i, got.parts[0], got.parts[1])
			got.whole = &whole
		}
		if got.err != nil {
			failed = errors.Join(failed, fmt.Errorf("cannot show %s to the task: %w", v.target, got.err))
			continue
		}
		pieces = append(pieces, late{*got.whole, v.target})
	}
	return pieces, failed
}

// overlay makes an overlay, or the read-only view that it is without an upper folder.
func (p *parts) overlay(o record.Overlay, run *record.Run) viewed {
	if o.Upper == "" {
		low, err := clone(o.Lower, deep|follow, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
		return viewed{whole: &low, err: err}
	}
	low, err := lower(o.Lower, follow, nil)
	if err != nil {
		return viewed{err: err}
	}
	var st unix.Stat_t
	if err = unix.Fstat(low.fd, &st); err == nil {
		err = uppers(o.Upper, run.Sandbox.IDs.Base, os.FileMode(st.Mode&0o777|0o700))
	}
	if err != nil {
		low.close()
		return viewed{err: err}
	}
	up, err := clone(o.Upper, follow, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		low.close()
		return viewed{err: err}
	}
	// From Linux 6.15 on it may be made of what has no place. The task, which sees
	// these names, learns nothing of the host.
	fd, err := overlayFS("agentctl-"+run.Nonce, fdPath(low.fd), fdPath(up.fd))
	if err != nil {
		return viewed{parts: [2]piece{low, up}}
	}
	low.close()
	up.close()
	return viewed{whole: &piece{fd: fd, dir: true}}
}

func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// overlay puts a view together on the stage and takes it away again, detached.
func (s *stage) overlay(i int, low, up piece) (piece, error) {
	defer func() { low.close(); up.close() }()
	at := filepath.Join("late", strconv.Itoa(i))
	if err := errors.Join(low.attach(s.at(at, "l")), up.attach(s.at(at, "u"))); err != nil {
		return piece{}, err
	}
	fd, err := overlayFS("agentctl-"+s.run.Nonce, at+"/l", at+"/u")
	return piece{fd: fd, dir: true}, err
}

// overlayFS makes a detached overlay of a lower folder and one with the folders
// upper and work.
func overlayFS(source, low, up string) (int, error) {
	set := [][2]string{{"source", source}, {"lowerdir", low}, {"upperdir", up + "/upper"}, {"workdir", up + "/work"}}
	flags := []string{"volatile"}
	if inUserNS() {
		flags = append(flags, "userxattr")
	}
	fd, err := mountFS("overlay", set, flags)
	if errors.Is(err, unix.EINVAL) { // before 5.10
		fd, err = mountFS("overlay", set, flags[1:])
	}
	return fd, err
}

// mountFS makes a mount of a new file system that is attached to nothing.
func mountFS(typ string, set [][2]string, flags []string) (int, error) {
	fd, err := unix.Fsopen(typ, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, &fs.PathError{Op: "fsopen", Path: typ, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	for _, kv := range set {
		if err := unix.FsconfigSetString(fd, kv[0], kv[1]); err != nil {
			return -1, &fs.PathError{Op: "fsconfig", Path: kv[0], Err: err}
		}
	}
	for _, flag := range flags {
		if err := unix.FsconfigSetFlag(fd, flag); err != nil {
			return -1, &fs.PathError{Op: "fsconfig", Path: flag, Err: err}
		}
	}
	if err := unix.FsconfigCreate(fd); err != nil {
		return -1, &fs.PathError{Op: "fsconfig", Path: typ, Err: err}
	}
	m, err := unix.Fsmount(fd, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return -1, &fs.PathError{Op: "fsmount", Path: typ, Err: err}
	}
	return m, nil
}
