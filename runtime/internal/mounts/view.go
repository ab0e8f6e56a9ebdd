package mounts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/record"
)

// Spec says what a task is to see.
type Spec struct {
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

// View is a Spec that is being carried out.
type View struct {
	Spec
	kernel kernel
	early  []chan made // of each overlay
}

type made struct {
	piece piece
	err   error
}

// Begin starts making the overlays in the background where the kernel lets them
// be made without a place, for it takes overlayfs a while to try out the upper
// folder's file system. Build must follow.
func Begin(spec Spec) *View {
	v := &View{Spec: spec, kernel: newKernel(spec)}
	for _, o := range spec.Overlays {
		ch := make(chan made, 1)
		v.early = append(v.early, ch)
		if v.kernel.anywhere() && o.Upper != "" {
			go func() { ch <- v.overlay(o) }()
		} else {
			close(ch)
		}
	}
	return v
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

// Build puts the view together in the calling thread's mount namespace, which
// Enter made. All that is to be shown is opened first, by its own path, then the
// hidden folders are covered, then what was opened is put to its place.
func (v *View) Build() error {
	defer v.kernel.close()
	pieces, err := v.open()
	defer func() {
		for _, p := range pieces {
			p.close()
		}
	}()
	if err != nil {
		return err
	}
	for _, path := range v.Hide {
		pieces = append(pieces, piece{target: path, fd: -1, cover: true, optional: true})
	}
	return place(v.kernel, pieces)
}

// open opens overlays and what is to be kept. What it has opened is returned
// with an error too.
func (v *View) open() ([]piece, error) {
	var pieces []piece
	var failed error
	for i, o := range v.Overlays {
		// Every one is waited for, or it would stay open.
		m, early := <-v.early[i]
		if !early {
			m = v.overlay(o)
		}
		if m.err != nil && failed == nil {
			failed = fmt.Errorf("cannot make the overlay of %s: %w", o.Lower, m.err)
		}
		pieces = append(pieces, m.piece)
	}
	for _, path := range v.Keep {
		p, err := v.kernel.bind(path)
		if err != nil && failed == nil {
			failed = fmt.Errorf("cannot keep %s: %w", path, err)
		}
		p.target, p.optional = path, true
		pieces = append(pieces, p)
	}
	return pieces, failed
}

func (v *View) overlay(o record.Overlay) made {
	if o.Upper == "" {
		p, err := v.kernel.bind(o.Lower)
		p.target, p.readOnly = o.Target, true
		return made{p, err}
	}
	if err := v.prepare(o); err != nil {
		return made{piece{fd: -1}, err}
	}
	p, err := v.kernel.overlay(o)
	p.target, p.dir = o.Target, true
	return made{p, err}
}

// prepare makes the folders of an overlay. The view's root gets the owner and
// the mode of the upper folder, so these are the task's and the lower's.
func (v *View) prepare(o record.Overlay) error {
	lower, err := os.Stat(o.Lower)
	if err != nil {
		return err
	}
	if !lower.IsDir() {
		return &os.PathError{Op: "overlay", Path: o.Lower, Err: unix.ENOTDIR}
	}
	if err := os.MkdirAll(o.UpperDir(), 0o700); err != nil {
		return err
	}
	err = os.Mkdir(o.WorkDir(), 0o700)
	if errors.Is(err, fs.ErrExist) {
		// A start that failed left it; overlayfs takes no folder that was in use
		// and not unmounted in order.
		if err = os.RemoveAll(o.WorkDir()); err == nil {
			err = os.Mkdir(o.WorkDir(), 0o700)
		}
	}
	if err != nil {
		return err
	}
	if v.UID != -1 {
		if err := os.Lchown(o.UpperDir(), v.UID, v.GID); err != nil {
			return err
		}
	}
	mode := lower.Mode().Perm() | 0o700
	if mode == 0o700 {
		return nil
	}
	return os.Chmod(o.UpperDir(), mode)
}
