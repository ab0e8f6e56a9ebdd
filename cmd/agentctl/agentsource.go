package main

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"agentctl/control"
	"agentctl/reconcile"
	"agentctl/source"

	"github.com/samber/lo"
)

// openSources opens what is recorded of the spec, and names the file of the flags
// if nothing is.
func (ag *agent) openSources() (err error) {
	if ag.sources, err = source.Open(filepath.Join(ag.state, "spec"), source.Options{Host: ag.host(), Layers: ag.variables.layers(), Log: ag.log}); err != nil {
		return err
	}
	g, err := ag.flags.git.source()
	if err != nil {
		return err
	}
	path, taken := ag.flags.watch, false
	switch {
	case g != nil && path != "":
		return usagef("--watch and --git name two sources; give one")
	case g != nil:
		path = g.String()
		taken, err = ag.sources.UseFlagsGit(*g)
	case path != "":
		slash := path[len(strings.TrimRight(path, "/")):] // says that it is a folder, also before it is there
		if path, err = filepath.Abs(path); err == nil {
			taken, err = ag.sources.UseFlags(path + slash)
		}
	default:
		return nil
	}
	if present := ag.sources.Current(); err == nil && !taken && present.Path != path {
		ag.log.Warn("the recorded source stays; apply --take-over replaces it", "source", present.String(), "flag", path)
	}
	return err
}

func lastGood(m *source.Manager) *reconcile.LastGood {
	r, text, ok := m.LastGood()
	if !ok {
		return nil
	}
	return &reconcile.LastGood{Text: text, Revision: reconcile.Revision{
		Number: r.Number, Digest: r.Digest, Time: r.Time, Commit: (*reconcile.Commit)(r.Commit), Origin: reconcile.Origin{Kind: r.Kind, Path: r.Path, URL: r.URL, Ref: r.Ref},
	}}
}

// suspension gives that of a source the form that the loop wants: with what it holds,
// or what is in force, as it is with the contributed workers of now.
func (ag *agent) suspension(s *source.Suspension) *reconcile.Suspension {
	if s == nil {
		return nil
	}
	out := &reconcile.Suspension{Reason: s.Reason, Message: s.Message, By: s.By, Since: s.Since, Until: s.Until}
	h, layered, err := ag.sources.InForce(s)
	if err != nil {
		ag.log.Warn("contributed workers do not go with what the suspended node holds", "error", err)
		return out
	}
	if h.Digest != "" {
		out.Held, out.Own = layered.Text, layered.Own
		out.Revision = reconcile.Revision{
			Number: h.Number, Digest: h.Digest, Commit: (*reconcile.Commit)(h.Commit), Origin: reconcile.Origin{Kind: h.Kind, Path: h.Path, URL: h.URL, Ref: h.Ref},
		}
	}
	return out
}

// specStore gives the source's revisions the form that the loop wants.
type specStore struct{ *source.Manager }

func (s specStore) Accept(a reconcile.Accepted) (int64, error) {
	return s.Manager.Accept(source.Accepted{
		Seq: a.Seq, Text: a.Text, Own: a.Own, Commit: (*source.Commit)(a.Revision.Commit), Time: a.Revision.Time, Changes: a.Changes,
		Plan: lo.Map(a.Plan, func(a reconcile.Action, _ int) source.Step {
			return source.Step{Verb: string(a.Verb), Worker: a.Worker, Reason: a.Reason}
		}),
	})
}

// feed hands what the source says to the loop. SIGHUP has a file read at once.
func (ag *agent) feed(ctx context.Context) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-ctx.Done():
			return nil
		case u := <-ag.sources.Updates():
			if _, err := ag.submitSpec(ctx, u); err != nil && ctx.Err() == nil {
				return err
			}
		case <-hangup:
			if _, err := ag.Reload(ctx, control.ReloadRequest{}); err != nil && ctx.Err() == nil {
				ag.log.Warn("cannot read the source again", "error", err)
			}
		}
	}
}

// submitSpec hands one update over and counts what became of it.
func (ag *agent) submitSpec(ctx context.Context, u source.Update) (reconcile.Result, error) {
	// What another hands over between the two steps would make the second one late, and
	// its caller be told of a generation that is not the last.
	ag.submitting.Lock()
	defer ag.submitting.Unlock()
	url, ref := u.Source.Remote()
	next := reconcile.SpecUpdate{
		Text: u.Text, Err: u.Err, Seq: u.Seq, Commit: (*reconcile.Commit)(u.Commit),
		Origin:    reconcile.Origin{Kind: u.Source.Kind, Path: u.Source.Path, URL: url, Ref: ref},
		Suspended: ag.suspension(u.Source.Suspended), Unread: u.Unread, AllowEmpty: u.MayEmpty(),
	}
	if next.Suspended == nil {
		if err := ag.layersChanged(ctx, u.Seq); err != nil {
			return reconcile.Result{}, err
		}
	}
	if u.Err == nil && !u.Unread { // after that: else it could have older layers
		l, err := ag.sources.Over(u.Source.Path, u.Text, false)
		next.Text, next.Own, next.Err = l.Text, l.Own, err
	}
	res, err := ag.loop.Submit(ctx, next)
	if err == nil {
		ag.metrics.Reconciled(res)
	}
	return res, err
}

// layersChanged brings what was contributed, or taken away, since into force over the
// last good spec: it is not to wait for a source that can't be read, or is not valid.
func (ag *agent) layersChanged(ctx context.Context, seq int64) error {
	good, l, changed := ag.sources.Again()
	if !changed {
		return nil
	}
	_, err := ag.loop.Submit(ctx, reconcile.SpecUpdate{
		Text: l.Text, Own: l.Own, Seq: seq, Commit: (*reconcile.Commit)(good.Commit), AllowEmpty: true,
		Origin: reconcile.Origin{Kind: good.Kind, Path: good.Path, URL: good.URL, Ref: good.Ref},
	})
	return err
}
