package shim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"agentctl/internal/crash"
	"agentctl/runtime/internal/record"
)

// orderFD is where a sandbox that is made ahead gets its order from.
const orderFD = firstLease

// errDropped means that nobody wants the sandbox any more.
var errDropped = errors.New("the sandbox was not wanted")

// await waits, with the sandbox made, for what is to run in it. With the agent's
// end of the socket closed, by its death too, the sandbox is dropped.
func (s *shim) await() error {
	// A word that is not heard is no matter: the order comes, or the end.
	_ = s.orders.Send(record.Word{Ready: true})
	w, files, err := s.ordered()
	if err != nil {
		return errDropped
	}
	if err := s.adopt(w, files); err != nil {
		_ = s.orders.Send(record.Word{Failed: err.Error()})
		return err
	}
	crash.Point("shim.adopted")
	_ = s.orders.Send(record.Word{Taken: true})
	return s.orders.Close()
}

// ordered receives the order. A SIGTERM before it ends the waiting; one that comes when it
// has returned is a wish to stop the run, and is left to who supervises it.
func (s *shim) ordered() (w record.Order, files []*os.File, err error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	came, heeded := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(heeded)
		select {
		case <-s.terms:
			cancel(errDropped)
		case <-came:
		}
	}()
	files, err = s.orders.Receive(ctx, &w)
	close(came)
	<-heeded
	return w, files, cmp.Or(err, context.Cause(ctx))
}

// adopt turns the spare sandbox into that of a run: its folder, its lock and
// leases are the shim's from here on.
func (s *shim) adopt(w record.Order, files []*os.File) error {
	s.held = files // never closed: they end with the shim
	run, err := record.ReadRun(w.Dir)
	if err == nil && (run == nil || run.Sandbox == nil || run.Nonce != s.run.Nonce || len(files) != run.Leases+1) {
		err = errors.New("the order is not for this sandbox")
	}
	if err != nil {
		return err
	}
	s.box.(*sandboxed).made.Begin(run)
	before, spare := s.run, s.dir
	s.run, s.dir = run, w.Dir
	if err = s.openRun(); err == nil {
		err = s.leave(spare)
	}
	if err != nil {
		s.run, s.dir = before, spare
		return err
	}
	return s.record()
}

// leave makes the run's folder the shim's only one.
func (s *shim) leave(spare string) error {
	if log, err := os.OpenFile(filepath.Join(s.dir, record.LogFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600); err == nil {
		_ = unix.Dup3(int(log.Fd()), 2, 0)
		_ = log.Close()
	}
	// There is one handle at any time: of two, the next agent would take the run
	// for a spare too, and with none it would not find what is to be swept.
	if err := os.Rename(filepath.Join(spare, record.HandleFile), filepath.Join(s.dir, record.HandleFile)); err != nil {
		return fmt.Errorf("cannot leave the folder of the spare sandbox: %w", err)
	}
	s.spare = spare
	crash.Point("shim.left-spare")
	return nil
}

// drop ends a sandbox that was not wanted, or could not be made.
func (s *shim) drop(e ended, why error) {
	if !errors.Is(why, errDropped) {
		_ = s.orders.Send(record.Word{Failed: why.Error()})
	}
	s.sweep(e)
	// Without its handle the folder is that of nothing; the agent removes the rest.
	_ = os.Remove(filepath.Join(s.dir, record.HandleFile))
	_ = os.Remove(filepath.Join(s.dir, record.RunFile))
}

// leaveSpare removes the folder that the shim was started in: by now nothing in it
// is looked for by its name.
func (s *shim) leaveSpare() { _ = os.RemoveAll(s.spare) }
