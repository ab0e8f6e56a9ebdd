package reconcile

import (
	"fmt"
	"time"

	"agentctl/spec"
)

// ReadySuspended is the reason of a node that is as its spec says, but is not ready
// since its source is not followed.
const ReadySuspended = "Suspended"

// Suspension says that the source is not followed, on an operator's word.
type Suspension struct {
	// Reason is Suspended, RolledBack, Trying or Reverted.
	Reason  string    `json:"reason"`
	Message string    `json:"message,omitempty"`
	By      string    `json:"by,omitempty"`
	Since   time.Time `json:"since"`
	// Until is when a trial ends that nobody confirms.
	Until time.Time `json:"until,omitzero"`
	// Held is the text that is to be in force meanwhile; nil: what is. Revision is where
	// it came from; its Number that of the revision whose text it is.
	Held     []byte   `json:"-"`
	Own      int      `json:"-"` // as that of a SpecUpdate
	Revision Revision `json:"revision,omitzero"`
}

// String says it for people.
func (s *Suspension) String() string {
	var out string
	switch s.Reason {
	case "RolledBack":
		out = fmt.Sprintf("rolled back to revision %d", s.Revision.Number)
	case "Trying":
		out = fmt.Sprintf("on trial until %s: confirm it with agentctl confirm", s.Until.UTC().Format(time.RFC3339))
	case "Reverted":
		out = fmt.Sprintf("back at revision %d", s.Revision.Number)
	default:
		out = "the source is not followed"
	}
	if s.By != "" && s.Reason != "Reverted" {
		out += ", by " + s.By
	}
	if s.Message != "" {
		out += ": " + s.Message
	}
	if s.Reason != "Trying" {
		out += "; agentctl resume follows the source again"
	}
	return out
}

// Waiting is what a source has that is not followed.
type Waiting struct {
	Revision Revision `json:"revision,omitzero"`
	// Changes that its text would make; none if it is what is in force.
	Changes []spec.Change `json:"changes,omitempty"`
	// Error says why it would be refused.
	Error string `json:"error,omitempty"`
}

// String says it for people.
func (w *Waiting) String() string {
	switch {
	case w.Error != "":
		return "its text would be refused: " + w.Error
	case len(w.Changes) == 0:
		return "the source has nothing else"
	case len(w.Changes) == 1:
		return fmt.Sprintf("the source has %.12s, 1 change is waiting", w.Revision.Digest)
	}
	return fmt.Sprintf("the source has %.12s, %d changes are waiting", w.Revision.Digest, len(w.Changes))
}

// suspended takes what a source says that is not followed: the text that is held in its
// place comes into force, that of the source only waits.
func (l *Loop) suspended(u SpecUpdate, now time.Time) Result {
	s := u.Suspended
	res := Result{Generation: l.generation, Digest: l.applied.Digest, Accepted: l.node != nil, Unchanged: true}
	if s.Held != nil && (l.node == nil || Digest(s.Held) != l.applied.Digest) {
		rev := s.Revision
		rev.Number, rev.Time = 0, now
		res = l.accept(u, layered{s.Held, s.Own}, rev, now)
	}
	if u.Unread {
		return res
	}
	l.waiting = l.waits(u, now)
	l.attempted = l.waiting.Revision
	switch {
	case !res.Accepted: // the condition says why
	case l.waiting.Error != "":
		l.judge(False, l.refusalOf(u), l.waiting.Error, now)
	case l.attempted.Digest != "" && l.attempted.Digest != l.applied.Digest:
		l.judge(False, ReadySuspended, "the source is not followed: "+l.waiting.String(), now)
	default:
		l.judge(True, "Accepted", "", now)
	}
	return res
}

// waits compares the text of the source with what is in force.
func (l *Loop) waits(u SpecUpdate, now time.Time) *Waiting {
	w := &Waiting{Revision: Revision{Origin: u.Origin, Commit: u.Commit, Time: now}}
	if u.Err != nil {
		w.Error = u.Err.Error()
		return w
	}
	w.Revision.Digest = Digest(u.Text)
	node, problems := spec.DecodeFor(u.Origin.Path, u.Text, l.cfg.host())
	if node == nil {
		w.Error = told(problems)
		return w
	}
	w.Changes = spec.Diff(l.node, node.Default(spec.Env{Hostname: l.cfg.Name}))
	return w
}

func (l *Loop) refusalOf(u SpecUpdate) string {
	if u.Err != nil {
		return reasonOf(u.Err)
	}
	return "Invalid"
}
