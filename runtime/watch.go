package runtime

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// watch tells when something in a folder changes. Where inotify has no instance
// or watch left (their number per user is limited) it looks again every pollPause.
type watch struct {
	f     *os.File // the inotify instance, nil without one
	woken atomic.Bool
	bell  chan struct{} // wakes a wait that has no inotify instance
}

const pollPause = 25 * time.Millisecond

func newWatch(dir string) *watch {
	w := &watch{bell: make(chan struct{}, 1)}
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return w
	}
	const events = unix.IN_MODIFY | unix.IN_CREATE | unix.IN_MOVED_TO | unix.IN_ONLYDIR
	if _, err := unix.InotifyAddWatch(fd, dir, events); err != nil {
		_ = unix.Close(fd)
		return w
	}
	w.f = os.NewFile(uintptr(fd), "inotify")
	return w
}

// wait returns nil when something may have changed, at the latest after most. It
// fails when ctx ends.
func (w *watch) wait(ctx context.Context, most time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if w.f == nil {
		return w.poll(ctx, min(most, pollPause))
	}
	deadline := time.Now().Add(most)
	if end, ok := ctx.Deadline(); ok && end.Before(deadline) {
		deadline = end
	}
	if err := w.f.SetReadDeadline(deadline); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, w.expire)
	defer stop()
	if ctx.Err() != nil || w.woken.Swap(false) {
		return context.Cause(ctx)
	}
	var events [4096]byte
	_, err := w.f.Read(events[:])
	if errors.Is(err, os.ErrDeadlineExceeded) {
		w.woken.Store(false)
		err = nil
		if end, ok := ctx.Deadline(); ok && !time.Now().Before(end) {
			return context.DeadlineExceeded
		}
	}
	return errors.Join(err, context.Cause(ctx))
}

func (w *watch) poll(ctx context.Context, pause time.Duration) error {
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-w.bell:
	case <-t.C:
	}
	return nil
}

// wake ends a wait that is going on, or the next one.
func (w *watch) wake() {
	w.woken.Store(true)
	select {
	case w.bell <- struct{}{}:
	default:
	}
	w.expire()
}

func (w *watch) expire() {
	if w.f != nil {
		_ = w.f.SetReadDeadline(time.Unix(1, 0))
	}
}

func (w *watch) close() error {
	if w.f == nil {
		return nil
	}
	return w.f.Close()
}
