package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/record"
)

// endPatience is how long a shim that is to end may take before it is killed. One that
// hangs must not keep the agent from its own end, nor one that the kernel holds then.
const endPatience = 15 * time.Second

var (
	errStays = errors.New("the shim does not end")
	errHeld  = errors.New("processes of the shim that was killed don't die")
)

// reaped waits until the shim is dead, and reaps it. It fails with errStays.
func (s *spawned) reaped(most time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), most, errStays)
	defer cancel()
	err := until(ctx, func() (bool, error) {
		var info unix.Siginfo
		// os.Process can only wait for as long as it takes.
		err := unix.Waitid(unix.P_PID, s.proc.Pid, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		return info.Signo != 0, err
	})
	if err == nil {
		_, err = s.proc.Wait()
	}
	if errors.Is(err, unix.ECHILD) || errors.Is(err, os.ErrProcessDone) {
		return nil // somebody else did
	}
	return err
}

// kill kills the shim, which takes along what it holds.
func (s *spawned) kill() error {
	_ = s.proc.Kill()
	return s.gone(s.reaped(sweepPatience))
}

// gone lets go of a shim, of which err tells whether it is dead.
func (s *spawned) gone(err error) error {
	_ = s.hint.Close()
	if s.pidfd >= 0 {
		_ = unix.Close(s.pidfd)
	}
	if err != nil {
		return fmt.Errorf("cannot end the shim: %w", err)
	}
	return nil
}

// settleAll settles the folders in which a shim that is dead may have begun.
func settleAll(dirs ...string) (err error) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), sweepPatience, errHeld)
	defer cancel()
	for _, dir := range dirs {
		h, herr := record.ReadHandle(dir)
		if herr == nil && h != nil {
			_, herr = settle(ctx, dir, h)
		}
		err = errors.Join(err, herr)
	}
	return err
}

// End kills a run of which nothing is to be kept, and waits for it. A shim that can't do
// that within a while is killed itself, and what it leaves is swept.
func (l *Launcher) End(ctx context.Context, t *Task) error {
	err := t.Kill()
	if err == nil {
		patience := time.NewTimer(l.patience)
		defer patience.Stop()
		select {
		case <-t.done:
		case <-ctx.Done():
		case <-patience.C:
			err = errStays
		}
	}
	if err != nil {
		l.log.Warn("shim is killed, with what it holds", "run", t.handle.ID, "shim", t.handle.PID, "reason", err)
		if err := t.signal(unix.SIGKILL); err != nil && !ended(err) {
			return fmt.Errorf("cannot end the shim: %w", err)
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, 2*sweepPatience, errHeld)
	defer cancel()
	_, err = t.Wait(ctx)
	return err
}

// Discard ends whatever lives in a folder that an earlier process of the agent left
// behind, and removes the folder.
func (l *Launcher) Discard(ctx context.Context, dir string) error {
	t, err := Attach(dir)
	if err == nil {
		err = l.End(ctx, t)
		t.Detach()
	}
	if err != nil && !errors.Is(err, ErrNoRun) {
		return fmt.Errorf("cannot discard the sandbox in %s: %w", dir, err)
	}
	return RemoveAll(dir)
}
