package source

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"agentctl/internal/crash"
	"agentctl/internal/fsx"
)

// Why a source is not followed, as Suspension.Reason.
const (
	ReasonSuspended  = "Suspended"  // an operator said so
	ReasonRolledBack = "RolledBack" // an older revision is in force
	ReasonTrying     = "Trying"     // a spec is in force until it is confirmed or its time is over
	ReasonReverted   = "Reverted"   // nobody confirmed it
)

// Suspension says that the source is not followed, on an operator's word. It is on
// disk before anything follows from it, and ends by Resume, by Confirm, or by another
// source that says so.
type Suspension struct {
	Reason  string    `json:"reason"`
	Message string    `json:"message,omitempty"` // the operator's, or why it was reverted
	By      string    `json:"by,omitempty"`
	Since   time.Time `json:"since"`
	// Held is what is in force meanwhile; nil: what was.
	Held *Held `json:"held,omitempty"`
	// Of a trial: until when to confirm it, what is the source then, and what is in
	// force again if nobody does.
	Until time.Time `json:"until,omitzero"`
	Next  *Source   `json:"next,omitempty"`
	Back  *Held     `json:"back,omitempty"`
}

// Held is a text that is in force in place of the source's, and where it came from.
type Held struct {
	Digest string  `json:"digest"`
	Number int64   `json:"number,omitempty"` // of the revision that it was; 0: none yet
	Kind   string  `json:"kind"`
	Path   string  `json:"path,omitempty"`
	URL    string  `json:"url,omitempty"` // of a repository, and the ref in it
	Ref    string  `json:"ref,omitempty"`
	Commit *Commit `json:"commit,omitempty"`
	Text   []byte  `json:"-"` // stored as a pinned text
}

// SuspendedError refuses what a suspended source stands against.
type SuspendedError struct {
	By  *Suspension
	fix string
}

func (e *SuspendedError) Error() string {
	said := ""
	if e.By.Message != "" {
		said = fmt.Sprintf(" (%s)", e.By.Message)
	}
	return fmt.Sprintf("the node is suspended since %s: %s%s; %s", e.By.Since.UTC().Format(time.RFC3339), e.By.Reason, said, e.fix)
}

// errHeld refuses a text of a source that is not followed.
var errHeld = errors.New("cannot accept the spec: its source is suspended")

// ErrNothingTo means that there is nothing to suspend, resume, confirm or roll back to.
var ErrNothingTo = errors.New("there is nothing to")

func nothingTo(format string, args ...any) error {
	return fmt.Errorf("%w %s", ErrNothingTo, fmt.Sprintf(format, args...))
}

// Suspend lets the source have no say until Resume. It is read all the same, so that
// the difference can be told.
func (m *Manager) Suspend(by, message string) (Update, error) {
	m.writing.Lock()
	defer m.writing.Unlock()
	present := m.Current()
	switch s := present.Suspended; {
	case present.Kind == "":
		return Update{}, nothingTo("suspend: the node has no source yet")
	case s != nil && s.Reason == ReasonTrying:
		return Update{}, &SuspendedError{s, "agentctl confirm keeps what is tried, agentctl rollback ends the trial"}
	case s != nil: // what is in force stays; the reason is the newer word
		again := *s
		again.Reason, again.By, again.Message, again.Since = ReasonSuspended, by, message, time.Now()
		present.Suspended = &again
	default:
		present.Suspended = &Suspension{Reason: ReasonSuspended, By: by, Message: message, Since: time.Now()}
	}
	return m.record(present, m.pinned())
}

// Resume lets the source be followed again. What it holds comes by Updates.
func (m *Manager) Resume() (Update, error) {
	m.writing.Lock()
	defer m.writing.Unlock()
	present := m.Current()
	switch s := present.Suspended; {
	case s == nil:
		return Update{}, nothingTo("resume: the node is not suspended")
	case s.Reason == ReasonTrying:
		return Update{}, &SuspendedError{s, "agentctl confirm keeps what is tried, agentctl rollback ends the trial"}
	}
	present.Suspended = nil
	return m.record(present, m.pinned())
}

// Rollback makes the text of an earlier revision the one in force, and suspends the
// source, which has another. number 0 is the last that differs from what is in force.
func (m *Manager) Rollback(number int64, o Order) (Update, error) {
	m.writing.Lock()
	defer m.writing.Unlock()
	if err := m.checkBase(o.Base); err != nil {
		return Update{}, err
	}
	held, err := m.RollbackTo(number)
	if err != nil {
		return Update{}, err
	}
	if _, err := m.fits(held.Path, held.Text, m.Contributions()); err != nil {
		return Update{}, fmt.Errorf("cannot roll back to revision %d, which is not valid now: %w", held.Number, err)
	}
	present := m.Current()
	present.Suspended = &Suspension{Reason: ReasonRolledBack, By: o.By, Message: o.Message, Since: time.Now(), Held: held}
	return m.hold(present)
}

// RollbackTo is what Rollback makes the one in force.
func (m *Manager) RollbackTo(number int64) (*Held, error) {
	history, err := m.History()
	if err != nil {
		return nil, err
	}
	good, _, ok := m.LastGood()
	if !ok || m.Current().Kind == "" {
		return nil, nothingTo("roll back: no spec was accepted yet")
	}
	for _, r := range history {
		if r.Number == number || number == 0 && r.Number < good.Number && r.own() != good.own() {
			if r.own() == good.own() {
				return nil, nothingTo("roll back: revision %d is what is in force", r.Number)
			}
			text, err := m.Text(r.Number)
			return r.held(r.layered(text).own()), err
		}
	}
	if number == 0 {
		return nil, nothingTo("roll back to: no other revision is kept")
	}
	return nil, nothingTo("roll back to: revision %d is not kept", number)
}

// hold stores the texts that a suspension needs, and then records it.
func (m *Manager) hold(next Source) (Update, error) {
	for _, h := range []*Held{next.Suspended.Held, next.Suspended.Back} {
		if h == nil {
			continue
		}
		crash.Point("source.hold")
		if err := fsx.WriteFile(m.pinnedFile(h.Digest), h.Text, 0o600); err != nil {
			return Update{}, fmt.Errorf("cannot store the spec: %w", err)
		}
	}
	return m.record(next, m.pinned())
}

// pinned is the text of a pinned source, nil of another.
func (m *Manager) pinned() []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.text
}

// texts are the digests of what must be stored beside the record.
func (s Source) texts() (out []string) {
	if s.Kind == KindPinned {
		out = append(out, s.Digest)
	}
	if s.Suspended != nil {
		for _, h := range []*Held{s.Suspended.Held, s.Suspended.Back} {
			if h != nil {
				out = append(out, h.Digest)
			}
		}
	}
	return out
}

// dropTexts removes those that only old needed; else the next start does.
func (m *Manager) dropTexts(old, next Source) {
	for _, sum := range old.texts() {
		if !slices.Contains(next.texts(), sum) {
			_ = os.Remove(m.pinnedFile(sum))
		}
	}
}

// loadHeld reads the texts of a recorded suspension.
func (m *Manager) loadHeld() (err error) {
	s := m.source.Suspended
	if s == nil {
		return nil
	}
	for _, h := range []*Held{s.Held, s.Back} {
		if h == nil {
			continue
		}
		if !isDigest(h.Digest) {
			return errors.New("what it holds has no digest")
		}
		if h.Text, err = readDigest(m.pinnedFile(h.Digest), h.Digest); err != nil {
			return err
		}
	}
	return nil
}
