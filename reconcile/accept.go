package reconcile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"agentctl/spec"
)

// SpecUpdate is news of the spec: its text, or why there is none.
type SpecUpdate struct {
	Text []byte
	// Own is for the Store: how much of Text is the source's, before what was laid over
	// it.
	Own    int
	Origin Origin
	Commit *Commit // of a text from git
	// Err says that the source could not be read; the last good spec stays. An
	// error with a method Reason() string gives the condition's reason.
	Err error
	// Suspended says that the source is not followed: then the text is only what waits
	// there.
	Suspended *Suspension
	// Unread says that the text is not known, only that the source is not followed.
	Unread bool
	// AllowEmpty lets the text leave the node without workers, however it says so.
	AllowEmpty bool
	// Seq rises with each update of the source, so that one that was overtaken on
	// its way does no harm.
	Seq int64
}

// Result is what became of a SpecUpdate.
type Result struct {
	// Generation to wait for; the present one if the text was accepted before.
	Generation int64 `json:"generation"`
	Accepted   bool  `json:"accepted"`
	Unchanged  bool  `json:"unchanged,omitempty"`
	// Superseded: a newer update was there already, this one was dropped.
	Superseded bool          `json:"superseded,omitempty"`
	Digest     string        `json:"digest,omitempty"`
	Problems   spec.Problems `json:"problems,omitempty"`
	Error      string        `json:"error,omitempty"`
}

// Digest names a spec text.
func Digest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// restore makes the last good spec the desired one, until the source was read.
func (l *Loop) restore(now time.Time) {
	good := l.cfg.LastGood
	if good == nil {
		return
	}
	l.attempted = good.Revision
	l.holdUntil = now.Add(patience)
	node, problems := spec.DecodeFor(good.Revision.Origin.Path, good.Text, l.cfg.host())
	if node == nil {
		l.judge(False, "LastGoodInvalid", "the last accepted spec is not valid for this release: "+told(problems), now)
		return
	}
	l.adopt(node, problems, good.Revision)
	l.judge(True, "LastGood", "the last accepted spec; its source has not been read yet", now)
}

// take judges an update, unless a newer one was there before it.
func (l *Loop) take(u SpecUpdate, now time.Time) Result {
	if u.Seq >= l.seq {
		l.last = l.judged(u, now)
		return l.last
	}
	if sum := Digest(u.Text); u.Err != nil || sum != l.attempted.Digest || u.Origin != l.attempted.Origin {
		return Result{Generation: l.generation, Superseded: true, Digest: sum}
	}
	// The same text came by another way: what became of it is the answer to both.
	return l.last
}

// judged is the result of the newest update. Only a valid text that is on disk
// changes what is desired.
func (l *Loop) judged(u SpecUpdate, now time.Time) Result {
	if l.unstored == nil || l.unstored.Seq != u.Seq {
		l.store.reset()
	}
	l.seq, l.unstored, l.holdUntil = u.Seq, nil, time.Time{}
	l.suspension, l.waiting = u.Suspended, nil
	if u.Suspended != nil {
		return l.suspended(u, now)
	}
	rev := Revision{Origin: u.Origin, Commit: u.Commit, Time: now}
	if u.Err != nil {
		l.attempted = rev
		l.judge(l.refused(), reasonOf(u.Err), u.Err.Error(), now)
		return Result{Generation: l.generation, Error: u.Err.Error()}
	}
	return l.accept(u, layered{u.Text, u.Own}, rev, now)
}

// layered is a text, and how much of it is the source's.
type layered struct {
	text []byte
	own  int
}

// accept makes a text the desired one, if it is valid and on disk.
func (l *Loop) accept(u SpecUpdate, h layered, rev Revision, now time.Time) Result {
	text := h.text
	rev.Digest = Digest(text)
	l.attempted = rev
	res := Result{Generation: l.generation, Digest: rev.Digest}
	node, problems := spec.DecodeFor(rev.Origin.Path, text, l.cfg.host())
	res.Problems = problems
	if node == nil {
		reason := "Invalid"
		if len(bytes.TrimSpace(text)) == 0 {
			reason = "Empty"
		}
		l.judge(False, reason, rev.Commit.of()+told(problems), now)
		return res
	}
	if l.node != nil && rev.Digest == l.applied.Digest && rev.Origin == l.applied.Origin {
		l.judge(True, "Accepted", "", now)
		res.Accepted, res.Unchanged = true, true
		return res
	}
	next := node.Default(spec.Env{Hostname: l.cfg.Name})
	if d, held := heldBack(l.node, next); held && !u.AllowEmpty && u.Suspended == nil {
		l.judge(False, d.Code, d.Message, now)
		res.Error = d.Message
		return res
	}
	number, err := l.cfg.Store.Accept(l.acceptance(u, h, rev, next, now))
	if err != nil { // without it on disk a restart would fall back: the old one stays
		l.unstored = &u
		l.store.next(now)
		l.judge(False, "NotStored", err.Error(), now)
		res.Error = err.Error()
		return res
	}
	l.store.reset()
	rev.Number = number
	l.supersede(now)
	l.adopt(node, problems, rev)
	l.judge(True, "Accepted", "", now)
	l.cfg.Log.Info("spec accepted", "revision", rev.Number, "digest", rev.Digest, "source", rev.Origin.Kind, "path", rev.Origin.Path, "warnings", len(l.warnings))
	res.Generation, res.Accepted = l.generation, true
	return res
}

// host is the machine that documents are chosen for.
func (c Config) host() spec.Host { return spec.Host{Name: c.Name, Labels: c.Labels, Called: c.Called} }

// acceptance is what is stored of a spec: with what it changes, and what is to be done
// for that.
func (l *Loop) acceptance(u SpecUpdate, h layered, rev Revision, next *spec.Node, now time.Time) Accepted {
	return Accepted{
		Seq: u.Seq, Text: h.text, Own: h.own, Revision: rev, Changes: spec.Diff(l.node, next),
		Plan: Compute(DesiredOf(next), l.cfg.Runner.Observe(), now).Actions,
	}
}

// storeAgain retries a valid spec that could not be stored.
func (l *Loop) storeAgain(now time.Time) {
	if l.unstored != nil && !now.Before(l.store.due) {
		l.take(*l.unstored, now)
	}
}

func (l *Loop) adopt(node *spec.Node, problems spec.Problems, rev Revision) {
	l.node = node.Default(spec.Env{Hostname: l.cfg.Name})
	l.desired = DesiredOf(l.node)
	l.warnings = problems.Warnings()
	l.applied, l.finished = rev, false
	l.generation++
}

// supersede closes the history of a spec that never became true in full.
func (l *Loop) supersede(now time.Time) {
	if l.node != nil && !l.finished {
		l.finish(ResultSuperseded, now)
	}
}

// finish records the result of the accepted spec. It is history alone, so a
// failure is told and nothing hangs on it.
func (l *Loop) finish(result string, now time.Time) {
	l.finished = true
	if err := l.cfg.Store.Finish(l.applied.Number, result, now); err != nil {
		l.cfg.Log.Warn("result of the spec not recorded", "revision", l.applied.Number, "result", result, "error", err)
	}
}

// judge sets the condition SpecAccepted.
func (l *Loop) judge(status, reason, message string, now time.Time) {
	c := Condition{Type: SpecAccepted, Status: status, Reason: reason, Message: message, Since: now, Revision: l.attempted.Digest}
	if c.Status == l.accepted.Status {
		c.Since = l.accepted.Since
	}
	if status != True && (message != l.accepted.Message || reason != l.accepted.Reason) {
		l.cfg.Log.Warn("spec not accepted, the last good one stays", "reason", reason, "error", message)
	}
	l.accepted = c
}

// refused is the status of a source that can't be read: nothing was refused as
// long as nothing was ever given.
func (l *Loop) refused() string {
	if l.node == nil && l.attempted.Origin == (Origin{}) {
		return Unknown
	}
	return False
}

// reasonOf is the reason that an error of a source carries.
func reasonOf(err error) string {
	var known interface{ Reason() string }
	if errors.As(err, &known) {
		return known.Reason()
	}
	return "Unreadable"
}

// maxTold is how many faults of a spec a condition repeats; Result has them all.
const maxTold = 10

func told(problems spec.Problems) string {
	errs := problems.Errors()
	if len(errs) <= maxTold {
		return errs.String()
	}
	return fmt.Sprintf("%s\n… and %d more", errs[:maxTold], len(errs)-maxTold)
}
