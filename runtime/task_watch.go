package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"agentctl/internal/fsx"
	"agentctl/runtime/internal/contain"
	"agentctl/runtime/internal/record"
)

// watch waits for the shim's end and settles how the run ended.
func (t *Task) watch(ctx context.Context) {
	told := t.told(ctx)
	if told {
		close(t.done)
	}
	err := t.waitShim(ctx)
	if err == nil && t.proc != nil {
		_, _ = t.proc.Wait() // reaps; how it ended is in the exit record
	}
	if t.pidfd != nil {
		_ = t.pidfd.Close()
	}
	if told {
		return
	}
	if err == nil {
		t.exit, err = settle(ctx, t.dir, &t.handle)
	}
	if err != nil {
		t.err = fmt.Errorf("cannot tell how task %s ended: %w", t.handle.ID, err)
	}
	close(t.done)
}

// told waits until the shim says that the exit record is there, and reads it: nothing of
// the task is left then, and the shim itself is about to go, which takes a while. It
// returns false if it can't be told so.
func (t *Task) told(ctx context.Context) bool {
	if t.hint == nil {
		return false
	}
	defer func() { _ = t.hint.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = t.hint.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var nothing [1]byte
	if _, err := t.hint.Read(nothing[:]); !errors.Is(err, io.EOF) {
		return false
	}
	exit, err := record.ReadExit(t.dir)
	if err != nil || exit == nil {
		return false
	}
	t.exit = *exit
	return true
}

// waitShim returns nil when the shim is gone.
func (t *Task) waitShim(ctx context.Context) error {
	if t.pidfd == nil {
		return waitUnlocked(ctx, t.dir)
	}
	raw, err := t.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = t.pidfd.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var perr error
	err = raw.Read(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		if errors.Is(err, unix.EINTR) {
			return false
		}
		perr = err
		return err != nil || n > 0
	})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return errors.Join(err, perr)
}

// waitUnlocked waits until nobody holds the run's lock, for kernels before 5.3.
func waitUnlocked(ctx context.Context, dir string) error {
	l, err := fsx.WaitLockShared(ctx, filepath.Join(dir, record.LockFile))
	if err != nil {
		return err
	}
	return l.Close()
}

// signal signals the shim. Without a pidfd, the start time keeps the signal from
// a process that got its number later.
func (t *Task) signal(sig unix.Signal) error {
	if t.pidfd == nil {
		st, err := contain.ReadStat(t.handle.PID)
		if err != nil || st.Start != t.handle.StartTicks {
			return unix.ESRCH
		}
		return unix.Kill(t.handle.PID, sig)
	}
	raw, err := t.pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	if raw.Control(func(fd uintptr) { serr = unix.PidfdSendSignal(int(fd), sig, nil, 0) }) != nil {
		return os.ErrClosed // the only way it fails, in words that errors.Is does not know
	}
	return serr
}

// settle tells how a run ended whose shim is gone. If the shim could not record
// it, what is left of the task is swept and the run is recorded as lost.
func settle(ctx context.Context, dir string, h *Handle) (Exit, error) {
	if exit, err := readExit(dir, h); err != nil || exit != nil {
		return value(exit), err
	}
	// Alone from here on: of two agents only one records the loss. Waiting covers
	// the moment in which a child of the shim has not yet closed what it inherited.
	lock, err := fsx.WaitLock(ctx, filepath.Join(dir, record.LockFile))
	if err != nil {
		return Exit{}, err
	}
	defer func() { _ = lock.Close() }()
	if exit, err := readExit(dir, h); err != nil || exit != nil {
		return value(exit), err
	}
	why, err := sweep(ctx, h)
	if err != nil {
		return Exit{}, err
	}
	exit := Exit{
		Version: record.Version, Code: -1, Reason: Lost, Message: why,
		Started: h.Started, Ended: time.Now(), Containment: h.Containment, MountNS: h.MountNS,
	}
	return exit, fsx.WriteJSON(filepath.Join(dir, record.ExitFile), exit, 0o600)
}

func value(e *Exit) Exit {
	if e == nil {
		return Exit{}
	}
	return *e
}

// openShim returns a pidfd of the shim of h, -1 where the kernel has none, or
// fails with ESRCH when that shim is gone.
func openShim(h *Handle) (int, error) {
	fd, err := unix.PidfdOpen(h.PID, 0)
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EPERM) {
		fd = -1
	} else if err != nil {
		return -1, err
	}
	// Looked at after the descriptor was taken: it can't be another's by now.
	st, err := contain.ReadStat(h.PID)
	boot, berr := contain.BootID()
	if err == nil && berr == nil && st.Start == h.StartTicks && boot == h.BootID {
		return fd, nil
	}
	if fd >= 0 {
		_ = unix.Close(fd)
	}
	if berr != nil {
		return -1, berr
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, unix.ESRCH) {
		return -1, err
	}
	return -1, unix.ESRCH
}
