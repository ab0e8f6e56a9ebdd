package source

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// retryRevert is how soon a revert that could not be recorded is tried again, and how
// often the clock on the wall, by which a trial ends, is looked at.
const retryRevert = 10 * time.Second

// try puts a text in force until a time, instead of making it the source's.
func (m *Manager) try(next Source, text []byte, o Order) (Update, error) {
	good, back, ok := m.LastGood()
	back = good.layered(back).own()
	switch {
	case !ok:
		return Update{}, nothingTo("go back to: no spec was accepted yet; apply without --try")
	case next.Kind == KindGit:
		return Update{}, errors.New("a repository can't be tried; try a file")
	case good.own() == digest(text):
		return Update{}, nothingTo("try: this is what is in force")
	}
	if _, err := m.fits(good.Path, back, m.Contributions()); err != nil {
		return Update{}, fmt.Errorf("cannot try a spec: the one in force, which it would go back to, is not valid now: %w", err)
	}
	present := m.Current()
	present.Suspended = &Suspension{
		Reason: ReasonTrying, Message: o.Message, By: o.By, Since: time.Now(), Until: time.Now().Add(o.Try), Next: &next,
		Held: &Held{Digest: digest(text), Kind: next.Kind, Path: next.Path, Text: text},
		Back: good.held(back),
	}
	return m.hold(present)
}

// Confirm keeps what is tried: it becomes the source.
func (m *Manager) Confirm() (Update, error) {
	m.writing.Lock()
	defer m.writing.Unlock()
	s := m.Current().Suspended
	switch {
	case s != nil && s.Reason == ReasonReverted:
		return Update{}, nothingTo("confirm any more: %s", s.Message)
	case s == nil || s.Reason != ReasonTrying:
		return Update{}, nothingTo("confirm: no spec is being tried")
	case !time.Now().Before(s.Until): // and is about to be reverted
		return Update{}, nothingTo("confirm any more: the time was over at %s", s.Until.UTC().Format(time.RFC3339))
	}
	next := *s.Next
	if next.Kind == KindFile || next.Kind == KindFolder {
		if found, err := ReadPath(next.Path); err != nil {
			return Update{}, err
		} else if digest(found) != s.Held.Digest {
			return Update{}, &ChangedError{next.Path}
		}
	}
	return m.record(next, s.Held.Text)
}

// watchTrial reverts a trial when its time is over. It goes by the clock on the wall,
// since that is what the record has: the agent may not have lived all the while.
func (m *Manager) watchTrial(ctx context.Context, s *Suspension) {
	if s == nil || s.Reason != ReasonTrying {
		return
	}
	for {
		wait := min(time.Until(s.Until), retryRevert)
		if wait <= 0 {
			err := m.revert(time.Now())
			if err == nil {
				return
			}
			m.opts.Log.Error("a spec that was not confirmed can't be reverted yet", "error", err)
			wait = retryRevert
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// revert ends a trial that nobody confirmed in time.
func (m *Manager) revert(now time.Time) error {
	m.writing.Lock()
	defer m.writing.Unlock()
	present := m.Current()
	s := present.Suspended
	if s == nil || s.Reason != ReasonTrying || now.Before(s.Until) {
		return nil
	}
	present.Suspended = &Suspension{
		Reason: ReasonReverted, Since: now, By: s.By, Held: s.Back,
		Message: fmt.Sprintf("what %s tried was not confirmed by %s", orSomebody(s.By), s.Until.UTC().Format(time.RFC3339)),
	}
	m.opts.Log.Warn("a spec was not confirmed in time, the one before it is in force again", "digest", s.Held.Digest, "until", s.Until, "revision", s.Back.Number)
	_, err := m.record(present, m.pinned())
	return err
}

func orSomebody(by string) string {
	if by == "" {
		return "somebody"
	}
	return by
}
