package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"time"

	"agentctl/control"
	"agentctl/reconcile"
	"agentctl/source"
	"agentctl/spec"

	"github.com/samber/lo"
)

// History lists the accepted specs, newest first.
func (ag *agent) History() ([]control.Revision, error) {
	list, err := ag.sources.History()
	return lo.Map(list, func(r source.Revision, _ int) control.Revision { return shown(r) }), err
}

// shown gives a record the form of the control API.
func shown(r source.Revision) control.Revision {
	return control.Revision{
		Number: r.Number, Digest: r.Digest, Time: r.Time, Source: reconcile.Origin{Kind: r.Kind, Path: r.Path, URL: r.URL, Ref: r.Ref},
		Commit: (*reconcile.Commit)(r.Commit), Cause: r.Cause, From: r.From, By: r.By, Message: r.Message,
		Changes: r.Changes, Partial: r.Partial, Result: r.Result, Finished: r.Finished,
		Plan: lo.Map(r.Plan, func(s source.Step, _ int) control.Step { return control.Step(s) }),
	}
}

// Revision reads one of them; 0 is the newest.
func (ag *agent) Revision(number int64) (control.RevisionText, error) {
	r, text, err := ag.sources.Revision(number)
	if errors.Is(err, fs.ErrNotExist) {
		return control.RevisionText{}, &control.Error{Code: control.CodeNotFound, Message: "this revision is not kept; see agentctl history"}
	}
	if err != nil {
		return control.RevisionText{}, err
	}
	out := control.RevisionText{Revision: shown(r), Text: text}
	if out.Node, out.Problems = spec.DecodeFor(r.Path, text, ag.host()); out.Node != nil {
		out.Node = out.Node.Default(spec.Env{Hostname: ag.name})
	}
	return out, nil
}

// Blame tells of each field of the spec in force which revision set it.
func (ag *agent) Blame() ([]control.Blame, error) {
	now, err := ag.Revision(0)
	if err != nil {
		return nil, err
	}
	if now.Node == nil {
		return nil, now.Problems.Err()
	}
	history, err := ag.sources.History()
	if err != nil {
		return nil, err
	}
	older, err := ag.sources.Older()
	if err != nil { // it only makes the answer less exact
		ag.log.Warn("what older specs changed can't be read", "error", err)
	}
	history = append(history, older...)
	written, problems := spec.Origins(now.Revision.Source.Path, now.Text, ag.host())
	if problems.Err() != nil {
		return nil, problems.Err()
	}
	contributed := map[string]string{} // ids, by the names of layers
	for _, c := range ag.sources.Contributions() {
		contributed[c.Origin()] = c.ID
	}
	return lo.Map(spec.Fields(now.Node), func(f spec.Change, _ int) control.Blame {
		b := control.Blame{Path: f.Path, Value: f.New, Where: "default"}
		if at, ok := written[f.Path]; ok {
			b.Where = at.String()
			if id := contributed[at.File]; id != "" {
				b.Where = "daemon " + id
			}
		}
		if r := source.Blame(f.Path, history); r != nil {
			b.Revision, b.Time, b.Cause, b.By, b.Message, b.Commit = r.Number, r.Time, r.Cause, r.By, r.Message, (*reconcile.Commit)(r.Commit)
		}
		return b
	}), nil
}

// Suspend lets the source have no say until Resume.
func (ag *agent) Suspend(ctx context.Context, message string) (reconcile.Result, error) {
	u, err := ag.sources.Suspend(control.Caller(ctx), message)
	return ag.hand(ctx, u, err)
}

// Resume lets the source be followed again, and reads it.
func (ag *agent) Resume(ctx context.Context) (reconcile.Result, error) {
	u, err := ag.sources.Resume()
	if err == nil && u.Unread {
		u, err = ag.sources.Reload(ctx, false)
	}
	return ag.hand(ctx, u, err)
}

// Confirm keeps what is tried.
func (ag *agent) Confirm(ctx context.Context) (reconcile.Result, error) {
	u, err := ag.sources.Confirm()
	return ag.hand(ctx, u, err)
}

// Rollback makes an earlier revision the spec, or tells what that would do.
func (ag *agent) Rollback(ctx context.Context, r control.RollbackRequest) (reply control.RollbackReply, err error) {
	held, err := ag.sources.RollbackTo(r.Number)
	if err != nil {
		return reply, refusal(err)
	}
	reply.Number = held.Number
	if r.DryRun {
		reply.Preview = ag.Preview(control.PlanRequest{File: held.Path, Text: held.Text})
		return reply, nil
	}
	u, err := ag.sources.Rollback(held.Number, source.Order{Base: r.Base, By: control.Caller(ctx), Message: r.Message})
	reply.Result, err = ag.hand(ctx, u, err)
	return reply, err
}

// hand gives what the source says after an order to the loop.
func (ag *agent) hand(ctx context.Context, u source.Update, err error) (reconcile.Result, error) {
	if err != nil {
		return reconcile.Result{}, refusal(err)
	}
	return ag.submitSpec(ctx, u)
}

// meant refuses a change that is seldom meant, unless the request says that it is.
func meant(r control.ApplyRequest, dangers []reconcile.Danger) error {
	allowed := map[string]bool{"": true, reconcile.AllowEmpty: r.AllowEmpty, reconcile.AllowServer: r.AllowServer}
	for _, d := range dangers {
		if !allowed[d.Allow] {
			return &control.Error{Code: control.CodeDanger, Message: d.Message}
		}
	}
	return nil
}

// probeTime is how long a new server may take to answer.
const probeTime = 5 * time.Second

// serverDanger looks whether the server that a spec would change to answers, and knows
// the node's keys: else nobody could hand the node a task to mend it by.
func (ag *agent) serverDanger(next *spec.Node) *reconcile.Danger {
	now := ag.loop.Snapshot().Node
	if now == nil || next == nil || next.Spec.Server.URL == "" ||
		now.Spec.Server.URL == next.Spec.Server.URL && now.Spec.Server.CredentialsFile == next.Spec.Server.CredentialsFile {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	conn, err := (&servers{app: ag.app, log: slog.New(slog.DiscardHandler)}).connect(ctx, next.Spec.Server)
	if err == nil {
		defer conn.Client.Close()
		_, err = conn.Client.ListQueues(ctx)
	}
	if err == nil {
		return nil
	}
	return &reconcile.Danger{
		Code: reconcile.DangerServer, Allow: reconcile.AllowServer,
		Message: "the new server does not take this node's word: " + err.Error() + "; if the change is meant all the same, apply with " + reconcile.AllowServer,
	}
}
