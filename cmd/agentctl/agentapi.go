package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"agentctl/control"
	"agentctl/reconcile"
	"agentctl/runtime"
	"agentctl/source"
)

// controlServer puts the agent behind the control socket; stop ends the agent.
func (ag *agent) controlServer(stop func()) *control.Server {
	return control.New(control.Config{
		Agent: ag.describe, State: ag.loop, Specs: ag, Operator: ag.pool, Consoles: ag, Environments: ag,
		Shutdown: stop, Metrics: ag.metrics, Log: ag.log,
	})
}

func (ag *agent) describe() control.Agent {
	s := ag.sources.Present()
	return control.Agent{
		Version: version, PID: os.Getpid(), Started: ag.started, State: ag.state, Server: ag.servers.serverDir(),
		Source: control.Source{Kind: s.Kind, Path: s.Path, By: s.By, Time: s.Time},
	}
}

// Preview says what a spec would change.
func (ag *agent) Preview(file string, text []byte) reconcile.Preview {
	return ag.loop.Preview(file, text)
}

// Apply makes a spec the node's. A watched file is recorded as the source before
// its text is handed over, so that a crash in between ends with the file
// followed; a text is pinned after it was accepted, so that a crash in between
// leaves the old source.
func (ag *agent) Apply(ctx context.Context, r control.ApplyRequest) (reconcile.Result, error) {
	if p := ag.loop.Preview(r.File, r.Text); p.Problems.Err() != nil {
		return reconcile.Result{}, &control.Error{Code: control.CodeInvalid, Message: p.Problems.Err().Error(), Problems: p.Problems}
	}
	var over *source.TakeOverError
	if err := ag.sources.Allowed(r.TakeOver); errors.As(err, &over) {
		return reconcile.Result{}, &control.Error{Code: control.CodeTakeOver, Message: err.Error()}
	}
	kind := source.KindPinned
	if r.Watch {
		kind = source.KindFile
		if err := ag.sources.Replace(kind, r.File, source.ByApply, time.Now()); err != nil {
			return reconcile.Result{}, err
		}
	}
	res, err := ag.loop.Submit(ctx, reconcile.SpecUpdate{Text: r.Text, Origin: reconcile.Origin{Kind: kind, Path: r.File}})
	if err != nil {
		return res, err
	}
	if !res.Accepted {
		return res, &control.Error{Code: control.CodeInvalid, Message: res.Error, Problems: res.Problems}
	}
	if !r.Watch {
		err = ag.sources.Replace(kind, r.File, source.ByApply, time.Now())
	}
	return res, err
}

// Reload reads the watched file now.
func (ag *agent) Reload(ctx context.Context) (reconcile.Result, error) {
	present := ag.sources.Present()
	if present.Kind != source.KindFile {
		return reconcile.Result{}, &control.Error{Code: control.CodeBadRequest, Message: "nothing to read again: the node's source is " + present.String()}
	}
	text, err := source.ReadFile(present.Path)
	return ag.loop.Submit(ctx, reconcile.SpecUpdate{Text: text, Err: err, Origin: reconcile.Origin{Kind: present.Kind, Path: present.Path}})
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
	out := make([]control.Environment, 0, len(entries))
	for _, e := range entries {
		out = append(out, control.Environment{
			Key: e.Key, Path: e.Path, Manager: e.Manager, Python: e.Python, Bytes: e.Bytes,
			Created: e.Created, Used: e.Used, InUse: e.InUse, Packages: e.Frozen,
		})
	}
	return out, err
}
