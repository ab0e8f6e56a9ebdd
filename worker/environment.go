package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"time"

	"agentctl/envcache"
	"agentctl/spec"
)

// environment finds the interpreter and leases the environment.
func (r *run) environment(ctx context.Context, p *prepared) error {
	base := ""
	if p.checkout != nil {
		base = p.checkout.Path
	}
	if base == "" && p.packages.mayHaveHeader() {
		var err error
		if base, err = r.scriptFolder(p); err != nil {
			return err
		}
	}
	req, from, err := r.wanted(ctx, p, base)
	if err != nil || p.cmd.Shell != "" && from == "" {
		return err
	}
	began := time.Now()
	r.sayFrom(p, req, from)
	lease, err := r.pool.cfg.Envs.Acquire(ctx, req, r.progress)
	if err != nil {
		return err
	}
	p.env, p.manager, p.project = lease, req.Manager, req.Project
	r.span("environment", began)
	how := "hit"
	if !lease.Hit {
		how = "built"
		hint(r.pool.grown)
	}
	r.note(func(rec *Record) {
		rec.Environment, rec.EnvKey, rec.LockKey, rec.Manager, rec.Why = how, lease.Key, lease.LockKey, req.Manager, lease.Why
	})
	if err := errors.Join(r.keepInstalled(lease, &p.packages, req), r.keepKey(lease)); err != nil {
		return err
	}
	r.say("environment %s (%s) in %s by %s: python %s, %d packages; %s",
		short(lease.Key), how, round(time.Since(began)), req.Manager, lease.Version, len(lease.Frozen), lease.Why)
	return nil
}

// scriptFolder makes a folder of the text of a script that has no repository, so
// that its header can be read as that of any other script. It is not where it runs.
func (r *run) scriptFolder(p *prepared) (string, error) {
	dir := r.dirs.script()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("cannot write the task's script: %w", err)
	}
	return dir, p.cmd.writeLiteral(dir, identity{UID: -1})
}

// sayFrom tells which list the packages come from, and why it is not the lock.
func (r *run) sayFrom(p *prepared, req envcache.Request, from string) {
	if p.packages.refused != "" {
		r.say("the lock of an earlier run is not used: %s", p.packages.refused)
	}
	if from == "" {
		r.say("WARNING: neither the task nor its repository lists any packages: the environment is empty")
		return
	}
	r.say("packages by %s from %s", req.Manager, from)
}

// wanted is the request for the task's environment, and where it is written what is
// in it. A lock whose Python this host lacks is given up.
func (r *run) wanted(ctx context.Context, p *prepared, base string) (envcache.Request, string, error) {
	req, from, err := p.packages.request(base)
	if err != nil || p.cmd.Shell != "" && from == "" {
		return req, from, err
	}
	req.UID, req.GID, req.ResolveAge = p.owner.UID, p.owner.GID, time.Duration(r.rec.ResolveAge)
	switch {
	case req.Manager == spec.ManagerConda: // the channels have it
	case req.Lock != nil:
		if req.Python, err = r.lockedPython(ctx, p, req); err != nil && ctx.Err() == nil {
			if err := p.packages.withoutLock(err); err != nil {
				return req, from, err
			}
			return r.wanted(ctx, p, base)
		}
	default:
		var note string
		if req.Python, note, err = r.findPython(ctx, p, req, p.packages.python, p.packages.pm.Python.OnMissing); note != "" {
			r.say("%s", note)
		}
	}
	return req, from, err
}

var minorVersion = regexp.MustCompile(`^\d+\.\d+`)

// lockedPython finds the very Python that the lock of req was made with, else the same
// minor version: packages for that fit. What the task would get without the lock counts
// first, of several that fit: it is what the lock's environment was made with.
func (r *run) lockedPython(ctx context.Context, p *prepared, req envcache.Request) (envcache.Interpreter, error) {
	version := req.Lock.Python
	minor := minorVersion.FindString(version)
	wants, missing := []string{p.packages.python, version, minor}, envcache.OnMissingFail
	if p.packages.pm.Python.OnMissing == envcache.OnMissingInstall {
		wants = append(wants, version, minor)
	}
	var failed error
	for i, want := range wants {
		if i == 3 { // nothing that is here fits
			missing = envcache.OnMissingInstall
		}
		py, _, err := r.findPython(ctx, p, req, want, missing)
		failed = err
		switch {
		case ctx.Err() != nil:
			return py, context.Cause(ctx)
		case err != nil || minorVersion.FindString(py.Version) != minor || i == 0 && py.Version != version:
			continue
		case py.Version != version:
			r.say("python %s is used: the lock was made with %s, which is not here", py.Version, version)
		}
		return py, nil
	}
	if missing == envcache.OnMissingInstall {
		return envcache.Interpreter{}, fmt.Errorf("the lock was made with python %s: %w", version, failed)
	}
	return envcache.Interpreter{}, fmt.Errorf("the lock was made with python %s, and this host has no %s", version, minor)
}

func (r *run) findPython(ctx context.Context, p *prepared, req envcache.Request, want, onMissing string) (envcache.Interpreter, string, error) {
	wish := envcache.PythonWish{Version: want, OnMissing: onMissing, Mirror: p.packages.pm.Python.InstallMirror}
	return r.pool.cfg.Envs.Python(ctx, wish, req, r.progress)
}

// progress tells a person what is under way: on the console, and in the status.
func (r *run) progress(p envcache.Progress) {
	if p.Text != "" {
		r.say("%s", p)
	}
	r.mu.Lock()
	r.phase, r.loaded, r.size = p.Step, p.Done, p.Total
	r.mu.Unlock()
	hint(r.pool.changed)
}
