package control

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"agentctl/reconcile"
	"agentctl/spec"
)

// Revision is one accepted spec, and what is known of it.
type Revision struct {
	Number int64             `json:"number"`
	Digest string            `json:"digest"`
	Time   time.Time         `json:"time"`
	Source reconcile.Origin  `json:"source,omitzero"`
	Commit *reconcile.Commit `json:"commit,omitempty"`
	// Cause is source, apply, rollback, try or revert; From is the revision that was
	// gone back to.
	Cause string `json:"cause,omitempty"`
	From  int64  `json:"from,omitempty"`
	// By is who gave the order, "" if the source changed by itself; Message is why.
	By      string `json:"by,omitempty"`
	Message string `json:"message,omitempty"`
	// Changes are the fields that it changed; Partial says that not all are kept.
	Changes []spec.Change `json:"changes,omitempty"`
	Partial bool          `json:"partial,omitempty"`
	Plan    []Step        `json:"plan,omitempty"`
	// Result is converged or superseded, "" while that is open, since Finished.
	Result   string    `json:"result,omitempty"`
	Finished time.Time `json:"finished,omitzero"`
}

// Step is one action of the plan that a spec had, in short.
type Step struct {
	Verb   string `json:"verb"`
	Worker string `json:"worker"`
	Reason string `json:"reason"`
}

// RevisionText is an accepted spec as it was written, and with all defaults. Node is
// nil, and Problems say why, where this release would not accept it.
type RevisionText struct {
	Revision Revision      `json:"revision"`
	Text     []byte        `json:"text"`
	Node     *spec.Node    `json:"node,omitempty"`
	Problems spec.Problems `json:"problems,omitempty"`
}

// Blame is what set a field.
type Blame struct {
	Path  string `json:"path"`
	Value string `json:"value"`
	// Where the field is written, or "default".
	Where string `json:"where,omitempty"`
	// Revision that changed it last; 0: none that is kept, it is older.
	Revision int64             `json:"revision,omitempty"`
	Time     time.Time         `json:"time,omitzero"`
	Cause    string            `json:"cause,omitempty"`
	By       string            `json:"by,omitempty"`
	Message  string            `json:"message,omitempty"`
	Commit   *reconcile.Commit `json:"commit,omitempty"`
}

// SuspendRequest says why the source is not to be followed.
type SuspendRequest struct {
	Message string `json:"message,omitempty"`
}

// RollbackRequest names the revision to go back to.
type RollbackRequest struct {
	Number  int64  `json:"number,omitempty"` // 0: the last that differs
	Message string `json:"message,omitempty"`
	// DryRun only shows what it would do.
	DryRun bool `json:"dryRun,omitempty"`
	// Base is as that of an ApplyRequest.
	Base string `json:"base,omitempty"`
}

// RollbackReply is what a rollback does, or would do.
type RollbackReply struct {
	Number  int64             `json:"number"`
	Preview reconcile.Preview `json:"preview,omitzero"`
	Result  reconcile.Result  `json:"result,omitzero"`
}

func (s *Server) revision(r *http.Request) (any, error) {
	n, err := strconv.ParseInt(r.URL.Query().Get("number"), 10, 64)
	if err != nil || n < 0 {
		return nil, &Error{Code: CodeBadRequest, Message: "a revision has a number"}
	}
	return s.cfg.Revisions.Revision(n)
}

func (s *Server) suspend(ctx context.Context, r SuspendRequest) (any, error) {
	if err := messageFits(r.Message); err != nil {
		return nil, err
	}
	s.cfg.Log.Info("the source is suspended", "by", Caller(ctx), "message", r.Message)
	return s.cfg.Revisions.Suspend(ctx, r.Message)
}

func (s *Server) resume(ctx context.Context, _ struct{}) (any, error) {
	s.cfg.Log.Info("the source is followed again", "by", Caller(ctx))
	return s.cfg.Revisions.Resume(ctx)
}

func (s *Server) confirm(ctx context.Context, _ struct{}) (any, error) {
	s.cfg.Log.Info("a spec on trial is confirmed", "by", Caller(ctx))
	return s.cfg.Revisions.Confirm(ctx)
}

func (s *Server) rollback(ctx context.Context, r RollbackRequest) (any, error) {
	if err := messageFits(r.Message); err != nil {
		return nil, err
	}
	if !r.DryRun {
		s.cfg.Log.Info("asked to roll back", "revision", r.Number, "by", Caller(ctx), "message", r.Message)
	}
	return s.cfg.Revisions.Rollback(ctx, r)
}

func messageFits(message string) error {
	if len(message) > maxReason {
		return &Error{Code: CodeBadRequest, Message: fmt.Sprintf("the message must not be longer than %d bytes", maxReason)}
	}
	return nil
}
