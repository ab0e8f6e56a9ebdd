package worker

import (
	"context"
	"errors"

	"agentctl/clearml"
	"agentctl/internal/crash"
)

// mostRefusals is how often a server may refuse an event before it is left out, which
// takes some minutes: what it will never take must not keep a task from its end.
const mostRefusals = 30

// send delivers events, however long that takes. It tells false when the server
// turned out to hold only the first of them.
func (s *sender) send(ctx context.Context, events []clearml.LogEvent, marks []mark) (all bool, err error) {
	for attempt := 0; ; attempt++ {
		s.cur.Pending = marks
		if err := s.save(); err != nil {
			return false, err
		}
		crash.Point("console.pending")
		err := s.server.AddEvents(ctx, events)
		crash.Point("console.sent")
		if err == nil {
			s.refusals = 0
			return true, s.behind(marks)
		}
		if errors.Is(err, clearml.ErrTaskGone) {
			return false, errTaskGone
		}
		refused := clearml.IsRefused(err)
		if refused && len(events) == 1 {
			if s.refusals++; s.refusals >= mostRefusals {
				s.log.Error("a piece of the console is left out, the server does not take it", "bytes", len(events[0].Msg), "error", err)
				return true, s.behind(marks)
			}
		}
		if err := s.retry(ctx, attempt); err != nil {
			return false, err
		}
		before := s.cur.Sent
		if err := s.settle(ctx); err != nil {
			return false, err
		}
		switch s.cur.Sent {
		case marks[len(marks)-1]:
			return true, nil
		case before: // nothing arrived: send the same again
			if refused && len(events) > 1 {
				s.single = true
				return false, nil
			}
		default:
			return false, nil
		}
	}
}

// behind moves the cursor behind all of what was sent.
func (s *sender) behind(marks []mark) error {
	s.cur.Sent, s.cur.Pending = marks[len(marks)-1], nil
	return s.save()
}

// settle asks the server which of the pending events it holds and moves the
// cursor behind them. It goes on until the server answers.
func (s *sender) settle(ctx context.Context) error {
	for attempt := 0; len(s.cur.Pending) > 0; attempt++ {
		held, err := s.server.LastLogEvents(ctx, s.task, 500)
		if err == nil {
			return s.accept(held)
		}
		if errors.Is(err, clearml.ErrTaskGone) {
			return errTaskGone
		}
		if clearml.IsRefused(err) { // it will never tell
			return s.accept(nil)
		}
		if err := s.retry(ctx, attempt); err != nil {
			return err
		}
	}
	return nil
}

// accept moves the cursor behind the last pending event that is among held.
// Events of one batch are stored in order, so all before it are there too.
func (s *sender) accept(held []clearml.LogEvent) error {
	type event struct {
		time int64
		sum  uint64
	}
	stored := map[event]bool{}
	for _, e := range held {
		if e.Worker == s.worker {
			stored[event{e.Timestamp, checksum(e.Msg)}] = true
		}
	}
	for _, m := range s.cur.Pending {
		if stored[event{m.Time, m.Sum}] {
			s.cur.Sent = m
		}
	}
	s.cur.Pending = nil
	return s.save()
}
