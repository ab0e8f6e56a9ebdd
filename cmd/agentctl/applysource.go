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
	"agentctl/source"
	"agentctl/spec"
)

// applyRequest is what the arguments and flags of apply ask of the agent.
func (a *app) applyRequest(ctx context.Context, c *control.Client, args []string, f applyFlags) (control.ApplyRequest, error) {
	g, err := f.git.source()
	switch {
	case err != nil:
		return control.ApplyRequest{}, err
	case g == nil && len(args) == 0:
		return control.ApplyRequest{}, usagef("name a file, a folder, - or a repository (--git)")
	case g == nil:
		req, err := a.request(args)
		req.TakeOver = f.takeOver
		if req.Watch = req.Watch && !f.noWatch; !req.Watch && len(args) > 1 && !f.noWatch {
			return req, usagef("several files can't be followed; put them into a folder, or pin them with --no-watch")
		}
		return req, err
	case len(args) > 0 || f.noWatch:
		return control.ApplyRequest{}, usagef("with --git no file is named and nothing is pinned")
	}
	reply, err := a.fetch(ctx, c, *g, f.agent)
	if err != nil {
		return control.ApplyRequest{}, err
	}
	req := control.ApplyRequest{File: reply.File, Text: reply.Text, Git: (*control.Git)(g), TakeOver: f.takeOver}
	if c := reply.Commit; c != nil {
		req.Commit = c.Hash
		said := fmt.Sprintf("commit %.12s of %s: %s", c.Hash, c.Author, c.Subject)
		if c.Signer != "" {
			said += ", signed by " + c.Signer
		}
		a.say("%s", said)
	}
	return req, nil
}

// fetch has the agent look at a repository, or looks itself where none runs.
func (a *app) fetch(ctx context.Context, c *control.Client, g source.Git, f agentFlags) (control.FetchReply, error) {
	reply, err := c.Fetch(ctx, control.FetchRequest{Git: (*control.Git)(&g)})
	if !errors.Is(err, control.ErrNoAgent) {
		return reply, err
	}
	dir, err := os.MkdirTemp("", "agentctl-git-")
	if err != nil {
		return reply, fmt.Errorf("cannot look at the repository: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	host, err := a.hostOf(f)
	if err != nil {
		return reply, err
	}
	text, commit, err := source.ReadGit(ctx, dir, g, source.Options{Host: host, Log: a.logger()})
	if err != nil {
		return reply, asRefusal(err)
	}
	return control.FetchReply{File: g.Path, Text: text, Commit: (*reconcile.Commit)(commit)}, nil
}

// asRefusal gives an error the form, and so the exit code, that it has from an agent.
func asRefusal(err error) error {
	var invalid *spec.InvalidError
	if errors.As(err, &invalid) {
		return &control.Error{Code: control.CodeInvalid, Message: err.Error(), Problems: invalid.Problems}
	}
	return refusal(err)
}

// hostOf is the machine that documents are chosen for, by the flags.
func (a *app) hostOf(f agentFlags) (spec.Host, error) {
	name, err := (&agent{app: a, flags: f}).nodeName()
	if err != nil {
		return spec.Host{}, err
	}
	labels, err := spec.ParseLabels(f.labels)
	if err != nil {
		return spec.Host{}, &usageError{err}
	}
	return spec.Host{Name: name, Labels: labels}, nil
}

// request reads the specs of the arguments as one text, and makes the agent's request
// of it. One file and one folder can be followed.
func (a *app) request(args []string) (control.ApplyRequest, error) {
	if len(args) == 1 && args[0] == "-" {
		files, err := a.specFiles("-", false)
		if err != nil {
			return control.ApplyRequest{}, err
		}
		return control.ApplyRequest{File: "-", Text: files[0].text}, nil
	}
	var all []spec.File
	for _, arg := range args {
		files, err := a.specFiles(arg, false)
		if err != nil {
			return control.ApplyRequest{}, err
		}
		for _, f := range files {
			name, err := filepath.Abs(f.name)
			if err != nil {
				return control.ApplyRequest{}, err
			}
			all = append(all, spec.File{Name: name, Text: f.text})
		}
	}
	path, err := filepath.Abs(args[0])
	if err != nil {
		return control.ApplyRequest{}, err
	}
	if len(args) == 1 && len(all) == 1 && all[0].Name == path {
		return control.ApplyRequest{File: path, Text: all[0].Text, Watch: true}, nil
	}
	r := control.ApplyRequest{File: path, Text: spec.Join(all), Watch: len(args) == 1}
	if len(args) > 1 {
		r.File = strings.Join(args, " ")
	}
	return r, nil
}

// sourceChange says how the source of the spec changes, "" if it does not, and
// refuses at once what the agent would refuse.
func (a *app) sourceChange(ctx context.Context, c *control.Client, req control.ApplyRequest) (string, error) {
	who, err := c.Agent(ctx)
	if errors.Is(err, control.ErrNoAgent) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	is, next := who.Source, control.Source{Kind: "pinned", Path: req.File}
	switch fi, err := os.Stat(req.File); {
	case req.Git != nil:
		next = control.Source{Kind: "git", Path: req.Git.Path, URL: req.Git.URL, Ref: req.Git.Ref}
	case req.Watch && err == nil && fi.IsDir():
		next.Kind = "folder"
	case req.Watch:
		next.Kind = "file"
	}
	if list, err := a.contributions(ctx, c); err != nil {
		return "", err
	} else if next.Kind == "git" && len(list) > 0 && !req.TakeOver {
		return "", fmt.Errorf("workers that were added by `agentctl daemon` would go, since a repository says all that runs: %s; use --take-over to replace them", strings.Join(listed(list), ", "))
	}
	switch {
	case is.Kind == "" || placeOf(is) == placeOf(next):
		return "", nil
	case is.By == "flags" && !req.TakeOver:
		return "", fmt.Errorf("the node follows %s, named by the agent's flags; use --take-over to replace it", placeOf(is))
	case is.Kind == "git" && !req.TakeOver:
		return "", fmt.Errorf("the node follows %s; use --take-over to replace it", placeOf(is))
	}
	if req.Try > 0 {
		return fmt.Sprintf("~ source: %s -> not followed until confirmed, then %s", placeOf(is), placeOf(next)), nil
	}
	return fmt.Sprintf("~ source: %s -> %s", placeOf(is), placeOf(next)), nil
}

// placeOf says a source as a revision says its own.
func placeOf(s control.Source) string {
	return reconcile.Origin{Kind: s.Kind, Path: s.Path, URL: s.URL, Ref: s.Ref}.String()
}
