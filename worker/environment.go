package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"agentctl/envcache"
	"agentctl/envcache/repo"
	"agentctl/spec"
)

// environment finds the interpreter and leases the environment. checkout is the task's
// where the packages need it: else it may still be made.
func (r *run) environment(ctx context.Context, p *prepared, checkout *repo.Checkout) error {
	if p.packages.pm.UseInterpreter != "" {
		defer r.buildInside(p)()
		return r.useInterpreter(ctx, p)
	}
	if p.standalone {
		return r.useWhatIsThere(ctx, p)
	}
	base, err := p.folder(checkout, r.dirs.script())
	if err != nil {
		return err
	}
	defer r.buildInside(p)()
	req, from, err := p.request(ctx, base)
	if err != nil || p.cmd.Shell != "" && from == "" {
		return err
	}
	r.pool.bytecode.want(r, p, req.Python)
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

// buildInside has the environment built in sandboxes, where the task is in one, until
// end. On the host's own file system as well an agent that is not root can't run
// anything as a user of the range, but in a sandbox.
func (r *run) buildInside(p *prepared) (end func()) {
	if p.box == nil {
		return func() {}
	}
	inside, host := p.box.boxes.inside(), p.box.boxes.host("host", false)
	p.host = host
	if len(p.box.image.Layers) > 0 || p.owner.Later {
		p.root = &envcache.Root{ID: cmp.Or(p.box.image.ID, spec.ImageHost), Exec: inside}
	}
	if p.owner.Later {
		p.root.Owner, p.root.Away = fmt.Sprintf("%d:%d", p.owner.UID, p.owner.GID), r.buildAway(p, inside)
	}
	return func() { r.endBoxes(inside, host) }
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

// progress tells a person what is under way: on the console, and in the status.
func (r *run) progress(p envcache.Progress) {
	if p.Text != "" {
		r.say("%s", p)
	}
	r.mu.Lock()
	r.phase, r.loaded, r.size = p.Step, p.Done, p.Total
	if p.Text != "" {
		r.doing, r.waiting = clip(p.Text, 300), p.Waiting
	}
	r.mu.Unlock()
	hint(r.pool.changed)
}
