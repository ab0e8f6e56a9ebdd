package mounts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/record"
)

// View is what a task is to see.
type View struct {
	Overlays   []record.Overlay
	Hide, Keep []string
	// Mark names our mounts in /proc/PID/mountinfo, so that processes that see
	// them can be found. The task sees it too.
	Mark string
	// UserNS is true in a user namespace, where overlayfs keeps its attributes
	// in user.overlay.*.
	UserNS bool
	// UID and GID will own the overlays' upper folders, -1 to leave them.
	UID, GID int
	// Stage is an empty folder for kernels before 5.2, which can't make a mount
	// without a place for it. It is made when it is needed.
	Stage string
}

// Enter gives the calling thread a mount namespace of its own. The thread must
// be locked and must never be unlocked. Later mounts of the host still appear in
// it, ours do not appear on the host.
func Enter() error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("cannot make a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("cannot keep mounts from the host: %w", err)
	}
	return nil
}

// Build puts the view together in the calling thread's mount namespace. All
// that is to be shown is opened first, by its own path, then the hidden folders
// are covered, then what was opened is put to its place.
func (v View) Build() error {
	k := newKernel(v)
	defer k.close()
	var pieces []piece
	defer func() {
		for _, p := range pieces {
			p.close()
		}
	}()
	for _, o := range v.Overlays {
		p, err := v.overlay(k, o)
		if err != nil {
			return fmt.Errorf("cannot make the overlay of %s: %w", o.Lower, err)
		}
		pieces = append(pieces, p)
	}
	for _, path := range v.Keep {
		p, err := k.bind(path)
		if err != nil {
			return fmt.Errorf("cannot keep %s: %w", path, err)
		}
		p.target, p.optional = path, true
		pieces = append(pieces, p)
	}
	for _, path := range v.Hide {
		pieces = append(pieces, piece{target: path, fd: -1, cover: true, optional: true})
	}
	return place(k, pieces)
}

func (v View) overlay(k kernel, o record.Overlay) (piece, error) {
	if o.Upper == "" {
		p, err := k.bind(o.Lower)
		p.target, p.readOnly = o.Target, true
		return p, err
	}
	if err := v.prepare(o); err != nil {
		return piece{}, err
	}
	p, err := k.overlay(o)
	p.target, p.dir = o.Target, true
	return p, err
}

// prepare makes the folders of an overlay. The view's root gets the owner and
// the mode of the upper folder, so these are the task's and the lower's.
func (v View) prepare(o record.Overlay) error {
	lower, err := os.Stat(o.Lower)
	if err != nil {
		return err
	}
	if !lower.IsDir() {
		return unix.ENOTDIR
	}
	for _, dir := range []string{o.UpperDir(), o.WorkDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if v.UID != -1 {
		if err := os.Lchown(o.UpperDir(), v.UID, v.GID); err != nil {
			return err
		}
	}
	return os.Chmod(o.UpperDir(), lower.Mode().Perm()|0o700)
}

// piece is a mount and its place.
type piece struct {
	target   string
	fd       int // the mount, -1 for a cover
	dir      bool
	cover    bool // an empty folder
	optional bool // to be left out where it changes nothing
	readOnly bool
}

func (p piece) close() {
	if p.fd >= 0 {
		_ = unix.Close(p.fd)
	}
}

// place attaches the pieces, those further up first, and makes the covers
// read-only when all their mount points are made.
func place(k kernel, pieces []piece) error {
	pieces = slices.Clone(pieces)
	slices.SortStableFunc(pieces, func(a, b piece) int { return strings.Compare(a.target, b.target) })
	var covers []string
	for i, p := range pieces {
		covered := inCover(pieces[:i], p.target)
		var err error
		switch {
		case p.cover:
			if err = k.cover(p.target); errors.Is(err, fs.ErrNotExist) {
				continue
			}
			covers = append(covers, p.target)
		case p.optional && !covered:
			continue
		default:
			err = attach(k, p, covered)
		}
		if err != nil {
			return fmt.Errorf("cannot show %s to the task: %w", p.target, err)
		}
	}
	for _, path := range slices.Backward(covers) {
		if err := k.protect(path, false); err != nil {
			return fmt.Errorf("cannot make the cover of %s read-only: %w", path, err)
		}
	}
	return nil
}

// inCover tells whether the innermost of the placed pieces around path is a cover.
func inCover(placed []piece, path string) bool {
	for _, p := range slices.Backward(placed) {
		if below(path, p.target) {
			return p.cover
		}
	}
	return false
}

// attach mounts p, making its mount point where a cover took it away.
func attach(k kernel, p piece, covered bool) error {
	if covered {
		if err := mountPoint(p); err != nil {
			return err
		}
	}
	if err := k.attach(p); err != nil {
		return err
	}
	if p.readOnly {
		return k.protect(p.target, true)
	}
	return nil
}

func mountPoint(p piece) error {
	if p.dir {
		return os.MkdirAll(p.target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(p.target), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(p.target, os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// below tells whether path lies below dir; both are clean.
func below(path, dir string) bool { return strings.HasPrefix(path, dir+"/") }
