package source

import (
	"strings"

	"agentctl/spec"
)

// Bounds of a record: whoever writes a spec may write much, many times.
const (
	maxChanges = 1000
	maxSteps   = 50
	maxValue   = 256 // bytes of a value before or after, or of a reason
)

// next is the record of a text that is about to be accepted. A text whose source was
// replaced or suspended meanwhile is refused here, under the lock of whoever does that.
func (m *Manager) next(a Accepted) (Revision, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a.Seq < m.began {
		return Revision{}, errSuperseded
	}
	url, ref := m.source.Remote()
	r := Revision{
		Version: recordVersion, Number: m.newest + 1, Digest: digest(a.Text), Time: a.Time,
		Kind: m.source.Kind, Path: m.source.Path, URL: url, Ref: ref, Commit: a.Commit, Cause: CauseSource,
	}
	r.bounded(a)
	if a.Own > 0 {
		r.Own, r.OwnDigest = a.Own, digest(a.Text[:a.Own])
	}
	if m.good != nil && r.own() == m.good.own() && r.Digest != m.good.Digest {
		r.Cause, r.By, r.Message = CauseContribute, m.contributing.By, m.contributing.Message
	}
	if said := m.source.Said; said != nil && said.Digest == r.own() {
		r.Cause, r.By, r.Message = CauseApply, said.By, said.Message
	}
	s := m.source.Suspended
	switch {
	case s == nil:
		return r, nil
	case m.good != nil && r.own() == m.good.own(): // of what is in force, with others laid over it
		g := m.good
		r.Kind, r.Path, r.URL, r.Ref, r.Commit = g.Kind, g.Path, g.URL, g.Ref, g.Commit
		return r, nil
	case s.Held == nil || s.Held.Digest != r.own():
		return Revision{}, errHeld
	}
	r.Kind, r.Path, r.URL, r.Ref, r.Commit = s.Held.Kind, s.Held.Path, s.Held.URL, s.Held.Ref, s.Held.Commit
	r.Cause, r.From, r.By, r.Message = s.cause(), s.Held.Number, s.By, s.Message
	return r, nil
}

func (s *Suspension) cause() string {
	switch s.Reason {
	case ReasonTrying:
		return CauseTry
	case ReasonReverted:
		return CauseRevert
	}
	return CauseRollback
}

// bounded takes over what was changed and planned, as far as it is kept.
func (r *Revision) bounded(a Accepted) {
	r.Partial = len(a.Changes) > maxChanges
	for _, c := range a.Changes[:min(len(a.Changes), maxChanges)] {
		r.Changes = append(r.Changes, spec.Change{Path: c.Path, Old: short(c.Old), New: short(c.New), Class: c.Class})
	}
	for _, s := range a.Plan[:min(len(a.Plan), maxSteps)] {
		s.Reason = short(s.Reason)
		r.Plan = append(r.Plan, s)
	}
}

func short(s string) string {
	if len(s) <= maxValue {
		return s
	}
	return strings.ToValidUTF8(s[:maxValue], "") + "…"
}
