package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"agentctl/control"
	"agentctl/reconcile"
	"agentctl/runtime"
	"agentctl/source"
	"agentctl/spec"
	"agentctl/worker"

	"github.com/samber/lo"
)

// controlServer puts the agent behind the control socket; stop ends the agent.
func (ag *agent) controlServer(stop func()) *control.Server {
	return control.New(control.Config{
		Agent: ag.describe, State: ag.loop, Specs: ag, Revisions: ag, Operator: operator{ag.pool}, Contributions: ag, Consoles: ag,
		Environments: ag, GPUs: ag.listGPUs, Tasks: ag,
		Shutdown: stop, Metrics: ag.metrics, Log: ag.log,
	})
}

func (ag *agent) describe() control.Agent {
	s := ag.sources.Current()
	url, ref := s.Remote()
	return control.Agent{
		Version: version, PID: os.Getpid(), Started: ag.started, State: ag.state, HostState: ag.mount.outside(ag.state), Server: ag.serverFolder(),
		Source: control.Source{Kind: s.Kind, Path: s.Path, URL: url, Ref: ref, By: s.By, Time: s.Since},
	}
}

// Preview says what a spec would change, and what of that is seldom meant.
func (ag *agent) Preview(r control.PlanRequest) reconcile.Preview {
	layered, err := ag.sources.Over(r.File, r.Text, r.Alone)
	if err != nil {
		return unfit(err)
	}
	p := ag.loop.Preview(r.File, layered.Text)
	if d := ag.serverDanger(p.Node); d != nil {
		p.Dangers = append(p.Dangers, *d)
	}
	return p
}

// unfit is the preview of a text that does not go with what was contributed.
func unfit(err error) reconcile.Preview {
	var invalid *spec.InvalidError
	if errors.As(err, &invalid) {
		return reconcile.Preview{Problems: invalid.Problems}
	}
	return reconcile.Preview{Problems: spec.Problems{{Severity: spec.SeverityError, Fault: err.Error()}}}
}

// Apply makes a spec the node's: on disk first, then for the loop. An error says
// that nothing was changed, unless it is the loop's.
func (ag *agent) Apply(ctx context.Context, r control.ApplyRequest) (reconcile.Result, error) {
	if err := meant(r, ag.Preview(control.PlanRequest{File: r.File, Text: r.Text, Alone: r.Git != nil}).Dangers); err != nil {
		return reconcile.Result{}, err
	}
	o := source.Order{
		TakeOver: r.TakeOver, Resume: r.Resume, Base: r.Base, By: control.Caller(ctx), Message: r.Message, Try: r.Try, AllowEmpty: r.AllowEmpty,
	}
	var u source.Update
	var err error
	switch {
	case r.Git != nil:
		u, err = ag.sources.ApplyGit(ctx, source.Git(*r.Git), r.Commit, o)
	case r.Watch:
		u, err = ag.sources.ApplyFile(r.File, r.Text, o)
	default:
		u, err = ag.sources.ApplyText(r.File, r.Text, o)
	}
	if err != nil {
		return reconcile.Result{}, refusal(err)
	}
	res, err := ag.submitSpec(ctx, u)
	if err == nil && !res.Accepted && !res.Superseded {
		err = &control.Error{Code: control.CodeInvalid, Message: res.Error, Problems: res.Problems}
	}
	return res, err
}

// refusal gives an error of the source the form of the control API.
func refusal(err error) error {
	var invalid *spec.InvalidError
	var over *source.TakeOverError
	var unread *source.ReadError
	var changed *source.ChangedError
	var moved *source.MovedError
	var suspended *source.SuspendedError
	var contributed *source.ContributionError
	switch {
	case errors.As(err, &contributed):
		return &control.Error{Code: control.CodeContributed, Message: err.Error()}
	case errors.As(err, &invalid):
		return &control.Error{Code: control.CodeInvalid, Message: err.Error(), Problems: invalid.Problems}
	case errors.As(err, &over):
		return &control.Error{Code: control.CodeTakeOver, Message: err.Error()}
	case errors.As(err, &moved):
		return &control.Error{Code: control.CodeMoved, Message: err.Error()}
	case errors.As(err, &suspended):
		return &control.Error{Code: control.CodeSuspended, Message: err.Error()}
	case errors.Is(err, source.ErrNothingTo):
		return &control.Error{Code: control.CodeNothing, Message: err.Error()}
	case errors.As(err, &unread) && (unread.Reason() == "NotSigned" || unread.Reason() == "NotDescendant"):
		return &control.Error{Code: control.CodeUnverified, Message: err.Error()}
	case errors.As(err, &unread) && unread.Git():
		return &control.Error{Code: control.CodeBadRequest, Message: err.Error()}
	case errors.As(err, &unread):
		return &control.Error{Code: control.CodeBadRequest, Message: "the agent can't read the file: " + err.Error() + "; put it where it can, or use --no-watch"}
	case errors.As(err, &changed), errors.Is(err, source.ErrNotFollowed):
		return &control.Error{Code: control.CodeBadRequest, Message: err.Error()}
	}
	return err
}

// Fetch tells what a repository holds, or what the source does.
func (ag *agent) Fetch(ctx context.Context, r control.FetchRequest) (control.FetchReply, error) {
	present := ag.sources.Current()
	if r.Git == nil && present.Git == nil {
		text, err := source.ReadPath(present.Path)
		return control.FetchReply{File: present.Path, Text: text}, refusal(err)
	}
	g := present.Git
	if r.Git != nil {
		g = (*source.Git)(r.Git)
	}
	text, commit, err := ag.sources.FetchGit(ctx, *g)
	return control.FetchReply{File: g.Path, Text: text, Commit: (*reconcile.Commit)(commit)}, refusal(err)
}

// Reload reads the source now.
func (ag *agent) Reload(ctx context.Context, r control.ReloadRequest) (reconcile.Result, error) {
	u, err := ag.sources.Reload(ctx, r.AcceptRewind)
	if err != nil {
		return reconcile.Result{}, refusal(err)
	}
	return ag.submitSpec(ctx, u)
}

// Open opens the console of a task that the node knows.
func (ag *agent) Open(task string, from int64) (control.Console, error) {
	c, err := runtime.OpenConsole(filepath.Join(ag.state, "tasks", filepath.Base(task)), from)
	if err != nil {
		return nil, err
	}
	return console{c}, nil
}

// console gives a task's console the form of the control API.
type console struct{ *runtime.ConsoleReader }

func (c console) Next(ctx context.Context) (control.Frame, error) {
	f, err := c.ConsoleReader.Next(ctx)
	return control.Frame{Stream: f.Stream, Time: f.Time, Data: f.Data, End: f.End}, err
}

// Environments lists the cache.
func (ag *agent) Environments() ([]control.Environment, error) {
	entries, err := ag.envs.Entries()
	return environmentRows(entries), err
}

// Usages tells what the running tasks use.
func (ag *agent) Usages() []control.Usage {
	return lo.Map(ag.pool.Usages(), func(u worker.TaskUsage, _ int) control.Usage {
		return control.Usage{
			Task: u.Task, Name: u.Name, Worker: u.Worker, Since: u.Since, Time: u.Time,
			CPU: u.CPU, Memory: u.Memory, Peak: u.Peak, Limit: u.Limit, PIDs: u.PIDs, Exact: u.Exact, Read: u.Read, Written: u.Written,
		}
	})
}

// Audit tells what tasks reach: of all groups of workers, or of those, and of those
// running tasks, that names name.
func (ag *agent) Audit(names []string) ([]control.Reach, error) {
	snap := ag.loop.Snapshot()
	var out []control.Reach
	add := func(of string, list []worker.Reach, err error) error {
		for _, r := range list {
			out = append(out, control.Reach{Of: of, What: r.What, Text: r.Text, Risk: r.Risk, Key: r.Key})
		}
		return err
	}
	workers := worker.Audited(snap)
	if len(names) == 0 {
		for _, w := range workers {
			list, err := ag.pool.Audit(w)
			if err := add(w.Group, list, err); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	for _, name := range names {
		w, found := lo.Find(workers, func(w spec.Worker) bool { return w.Group == name || strings.HasPrefix(name, w.Group+"/") })
		if found {
			list, err := ag.pool.Audit(w)
			if err := add(w.Group, list, err); err != nil {
				return nil, err
			}
			continue
		}
		t, err := control.FindTask(snap, name)
		if err != nil {
			return nil, &control.Error{Code: control.CodeNotFound, Message: fmt.Sprintf("this node has no worker, and runs no task, %.100q", name)}
		}
		list, err := ag.pool.AuditTask(t.ID)
		if err := add(t.ID, list, err); err != nil {
			return nil, err
		}
	}
	return out, nil
}
