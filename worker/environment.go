package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"agentctl/envcache"
	"agentctl/runtime"
	"agentctl/runtime/dockerargs"
	"agentctl/spec"
)

// environment finds the interpreter and leases the environment.
func (r *run) environment(ctx context.Context, p *prepared) error {
	base, err := p.folder(p.checkout, r.dirs.script())
	if err != nil {
		return err
	}
	end, err := r.buildInside(ctx, p)
	if err != nil {
		return err
	}
	defer end()
	req, from, err := p.request(ctx, base)
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

// buildInside has the environment built in the task's image, if it has one, until end.
// On the host's own file system as well an agent that is not root can't run anything as
// a user of the range, but in a sandbox.
func (r *run) buildInside(ctx context.Context, p *prepared) (end func(), err error) {
	if p.box == nil || len(p.box.image.Layers) == 0 && !p.owner.Later {
		return func() {}, nil
	}
	boxes, err := r.buildBoxes(ctx, p)
	if err != nil {
		return nil, err
	}
	p.root = &envcache.Root{ID: cmp.Or(p.box.image.Digest, spec.ImageHost), Exec: boxes}
	if p.owner.Later {
		p.root.Owner, p.root.Away = fmt.Sprintf("%d:%d", p.owner.UID, p.owner.GID), r.buildAway(p, boxes)
	}
	return func() {
		if err := boxes.close(); err != nil {
			r.log.Error("sandbox of a build not ended", "error", err)
		}
	}, nil
}

// buildBoxes are for the environment of a task that has an image.
func (r *run) buildBoxes(ctx context.Context, p *prepared) (*buildBoxes, error) {
	b := &buildBoxes{
		launcher: r.pool.cfg.Launcher, root: r.dirs.root, lease: p.box.image.Lease, base: runtime.Config{ID: r.rec.Task},
		// With another network they have other files than the task's sandbox.
		files: filepath.Join(r.dirs.root, boxPrefix+"files"),
	}
	if err := os.MkdirAll(b.files, 0o711); err != nil {
		return nil, err
	}
	at := r.site()
	at.dirs = folders{b.files}
	err := at.confine(ctx, &b.base, p, cmp.Or(r.rec.Worker.Sandbox.BuildNetwork, dockerargs.NetworkHost))
	if err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
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
