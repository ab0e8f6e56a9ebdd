package worker

import (
	"errors"
	"testing"
	"testing/synctest"

	"agentctl/clearml"
	"agentctl/runtime"
)

// A server that fails each time at what only people want to know does not keep the end of
// a task from being reported; while the task runs it is tried on and on.
func TestAnnouncementsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &distant{}
		_, r := distantPool(t, d)
		calls := 0
		fails := func(err error) func() error {
			return func() error {
				if calls++; calls == 3*mostFaults {
					r.note(func(rec *Record) { rec.Exit = &runtime.Exit{Reason: runtime.Exited} })
				}
				if calls > 5*mostFaults {
					return nil
				}
				return err
			}
		}
		fault := &clearml.Error{Action: "tasks.set_requirements", Code: 500}
		if err := r.tell(t.Context(), fails(fault)); !errors.Is(err, fault) || calls != 4*mostFaults-1 {
			t.Errorf("%v after %d calls", err, calls)
		}
		calls = 0 // no answer says nothing about what was told
		if err := r.tell(t.Context(), fails(&clearml.Unreachable{Err: errBad})); err != nil || calls != 5*mostFaults+1 {
			t.Errorf("%v after %d calls", err, calls)
		}
	})
}
