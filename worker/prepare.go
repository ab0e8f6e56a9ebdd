package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"agentctl/envcache"
	"agentctl/envcache/repo"

	"golang.org/x/sync/errgroup"
)

// prepared is what a task runs in.
type prepared struct {
	needs
	env      *envcache.Lease // nil for a shell script without requirements
	python   string          // that the task runs with in place of that of env; "": none is given
	manager  string
	project  envcache.Project // of the repository that env was made for, if any
	netrc    string           // file with credentials for the task, "" for none
	checkout *repo.Checkout   // nil without a repository
	token    string
}

// prepare makes everything that the task needs. Repository, environment and
// token are fetched at once; only requirements that speak of the repository's
// files wait for it.
func (r *run) prepare(ctx context.Context) (*prepared, error) {
	began := time.Now()
	var p prepared
	rule, err := ruleOf(ctx, r.task, r.rec.Worker, r.projectName)
	if err != nil {
		return nil, err
	}
	r.note(func(rec *Record) { rec.Rule = rule.number() })
	if p.needs, err = r.pool.needsOf(r.task, r.rec.Worker, r.rec.Git, r.rec.ResolveAge, rule); err != nil {
		return nil, err
	}
	p.say, p.progress = r.say, r.progress
	if p.box != nil {
		if err := r.fetchImage(ctx, &p); err != nil {
			return nil, err
		}
		if p.box.boxes, err = r.taskBoxes(&p); err != nil {
			return nil, err
		}
	}
	if err := r.dirs.createPrivate(p.owner); err != nil {
		return nil, err
	}
	if p.box != nil {
		if err := r.limitDisk(); err != nil {
			return nil, err
		}
		if err := r.site().lay(ctx, &p, r.conn.Endpoints.servers()...); err != nil {
			return nil, err
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	checkedOut := make(chan struct{})
	group.Go(func() error { return r.login(ctx, &p) })
	group.Go(func() error { return r.giveCredentials(ctx, &p) })
	group.Go(func() error { r.findSandbox(ctx, &p); return nil })
	group.Go(func() error {
		defer close(checkedOut)
		return r.checkOut(ctx, &p)
	})
	group.Go(func() error {
		var checkout *repo.Checkout
		if p.packages.needsCheckout() {
			<-checkedOut // closed in every case; a failure shows as a nil checkout
			checkout = p.checkout
		}
		return r.environment(ctx, &p, checkout)
	})
	err = group.Wait()
	p.addLeases(r)
	if p.box != nil {
		err = errors.Join(err, p.box.boxes.close())
	}
	if err != nil {
		return nil, err
	}
	r.span("prepare", began)
	return &p, nil
}

func (p *prepared) addLeases(r *run) {
	if p.env != nil {
		r.release = append(r.release, func() { _ = p.env.Close() })
	}
	if p.checkout != nil {
		r.release = append(r.release, func() { _ = p.checkout.Close() })
	}
}

// login gets the token that the task itself uses: good for this task alone on
// the embedded server, and with an end everywhere.
func (r *run) login(ctx context.Context, p *prepared) error {
	life := max(time.Duration(r.rec.Worker.MaxRuntime)+time.Hour, 30*24*time.Hour)
	return r.insist(ctx, func() (err error) {
		p.token, err = r.conn.Client.TaskToken(ctx, r.rec.Task, life)
		return err
	})
}

func (r *run) checkOut(ctx context.Context, p *prepared) error {
	began := time.Now()
	src, ok, err := p.source()
	if err != nil || !ok {
		return err
	}
	defer r.pool.endGit(src)
	checkout, err := r.pool.cfg.Repos.Acquire(ctx, src, r.progress)
	if err != nil {
		return err
	}
	p.checkout = checkout
	r.note(func(rec *Record) { rec.Commit = checkout.Commit })
	r.span("repository", began)
	for _, w := range checkout.Warnings {
		r.say("WARNING: %s", w)
	}
	if !checkout.Hit {
		hint(r.pool.grown)
		r.say("repository %s at %s in %s", checkout.URL, short(checkout.Commit), round(time.Since(began)))
	}
	return nil
}

// reachable tells whether owner can pass through every folder down to the state
// folder. Without this check the task would fail with a bare "permission denied".
func reachable(state string, owner identity) error {
	if owner.UID <= 0 {
		return nil
	}
	for dir := state; ; dir = filepath.Dir(dir) {
		fi, err := os.Stat(dir)
		if err != nil {
			return fmt.Errorf("cannot look at the state folder: %w", err)
		}
		if !passable(fi, owner) {
			return fmt.Errorf("cannot run tasks as %s: it may not pass through %s (mode %s); put the state folder elsewhere with --state, or write runAs", owner.Name, dir, fi.Mode().Perm())
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

func short(s string) string { return s[:min(len(s), 12)] }

func round(d time.Duration) time.Duration {
	if d < 100*time.Millisecond {
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(10 * time.Millisecond)
}
