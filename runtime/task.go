package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"agentctl/internal/crash"
	"agentctl/internal/fsx"
	"agentctl/runtime/internal/record"
)

// Task is a run that was started, by this process or an earlier one, and may
// have ended. Its methods may be called from several goroutines.
type Task struct {
	dir    string
	handle Handle
	proc   *os.Process // the shim, if it is a child of ours
	pidfd  *os.File    // the shim, nil where the kernel has no pidfds
	hint   *os.File    // ends with the exit record or the shim, if it is a child of ours

	cancel  context.CancelFunc
	done    chan struct{} // closed when exit and err are set
	watched sync.WaitGroup
	exit    Exit
	err     error
}

func newTask(dir string, h *Handle, pidfd int, shim *spawned) *Task {
	ctx, cancel := context.WithCancel(context.Background())
	t := &Task{dir: dir, handle: *h, cancel: cancel, done: make(chan struct{})}
	if shim != nil {
		t.proc, t.hint = shim.proc, shim.hint
	}
	if pidfd >= 0 && unix.SetNonblock(pidfd, true) == nil {
		// Non-blocking, it waits in the runtime's poller and needs no thread.
		t.pidfd = os.NewFile(uintptr(pidfd), "pidfd")
	}
	t.watched.Go(func() { t.watch(ctx) })
	return t
}

func endedTask(dir string, h *Handle, exit Exit) *Task {
	t := &Task{dir: dir, exit: exit, cancel: func() {}, done: make(chan struct{})}
	if h != nil {
		t.handle = *h
	}
	close(t.done)
	return t
}

// Dir is the run's folder.
func (t *Task) Dir() string { return t.dir }

// PID is the process number of the shim, which may have ended.
func (t *Task) PID() int { return t.handle.PID }

// Handle is what the shim recorded of itself.
func (t *Task) Handle() Handle { return t.handle }

// Containment is the rung that holds the task's processes.
func (t *Task) Containment() string { return t.handle.Containment }

// MountNS is the rung of the task's view of the file system.
func (t *Task) MountNS() string { return t.handle.MountNS }

// Done is closed when the run has ended and Wait will not block.
func (t *Task) Done() <-chan struct{} { return t.done }

// Wait waits for the end of the run, or of ctx. It fails too when the end can't
// be told, because the records are damaged or what is left can't be killed.
func (t *Task) Wait(ctx context.Context) (Exit, error) {
	select {
	case <-t.done:
		return t.exit, t.err
	case <-ctx.Done():
		return Exit{}, context.Cause(ctx)
	}
}

// Stop asks the shim to end the task: SIGTERM to its processes, after grace
// SIGKILL to all that is left. It does not wait. The Exit has the reason
// Stopped. Asked again, the shim takes the grace that ends first.
func (t *Task) Stop(grace time.Duration, reason string) error {
	return t.stop(record.Stop{Grace: grace, Reason: reason})
}

// Checkpoint is Stop after a signal by which the task saves its state: those of its
// processes that handle it get it, and SIGTERM follows when save is over, unless the
// task has ended by then. Asked again the shim begins nothing anew; Stop cuts it short.
func (t *Task) Checkpoint(sig string, save, grace time.Duration, reason string) error {
	return t.stop(record.Stop{Grace: grace, Reason: reason, Checkpoint: sig, Save: save})
}

// Kill is Stop without any grace.
func (t *Task) Kill() error { return t.Stop(0, "killed") }

func (t *Task) stop(wish record.Stop) error {
	if err := t.ask(wish); err != nil {
		return fmt.Errorf("cannot stop task %s: %w", t.handle.ID, err)
	}
	return nil
}

func (t *Task) ask(wish record.Stop) error {
	select {
	case <-t.done:
		return nil
	default:
	}
	wish.Version, wish.Grace, wish.Save = record.Version, max(wish.Grace, 0), max(wish.Save, 0)
	if err := fsx.ReplaceJSON(filepath.Join(t.dir, record.StopFile), wish, 0o600); err != nil {
		return err
	}
	crash.Point("runtime.stop-written")
	err := t.signal(unix.SIGTERM)
	if err == nil {
		err = t.signal(unix.SIGCONT)
	}
	if ended(err) {
		return nil // meanwhile
	}
	return err
}

// ended tells whether a signal failed since the shim has ended.
func ended(err error) bool {
	return errors.Is(err, unix.ESRCH) || errors.Is(err, os.ErrClosed) || errors.Is(err, os.ErrProcessDone)
}

// Detach ends the watching of the run, which goes on. Wait then fails unless the
// end was seen before.
func (t *Task) Detach() {
	t.cancel()
	t.watched.Wait()
}
