package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"agentctl/clearml"
	"agentctl/envcache"
	"agentctl/envcache/repo"
	"agentctl/runtime"
	"agentctl/spec"
)

// aheadFolder of the state folder holds the text of a script while its environment
// is made ahead.
const aheadFolder = "ahead"

// startAhead begins to prepare a task. stop ends that early, and ended is closed
// when it is over.
func (p *Pool) startAhead(ctx context.Context, u *upcoming) (stop context.CancelCauseFunc, ended <-chan struct{}) {
	ctx, stop = context.WithCancelCause(ctx)
	done := make(chan struct{})
	p.setAhead(u)
	go func() { // lookAhead waits for it
		defer close(done)
		defer stop(nil)
		p.tryAhead(ctx, *u)
	}()
	return stop, done
}

// tryAhead makes what a task needs, once for its settings: what fails is not tried
// again until the task itself does, and says so on its console.
func (p *Pool) tryAhead(ctx context.Context, u upcoming) {
	log := p.cfg.Log.With("worker", u.worker, "task", u.task)
	began := time.Now()
	err := p.makeAhead(ctx, u)
	if cause := context.Cause(ctx); cause != nil {
		log.Debug("stopped preparing a task ahead", "reason", cause)
		return
	}
	p.mu.Lock()
	p.ahead.tried[u.task] = u.settings
	p.mu.Unlock()
	if err != nil {
		log.Info("cannot prepare a task ahead", "error", err)
		return
	}
	log.Debug("prepared a task ahead", "took", time.Since(began))
}

// prepareAhead makes the checkout and the environment of a task that waits, and lets
// go of them: the cache keeps them, as it keeps what was used last.
func (p *Pool) prepareAhead(ctx context.Context, u upcoming) error {
	if !validID.MatchString(u.task) {
		return errors.New("it is no task id")
	}
	ctx = context.WithValue(envcache.Background(ctx), aheadKey{}, true)
	conn, err := p.conn.get(ctx, u.node.Server)
	if err != nil {
		return err
	}
	task, err := conn.Client.Task(ctx, u.task)
	if errors.Is(err, clearml.ErrTaskGone) || err == nil && task.Status != clearml.StatusQueued {
		return nil
	}
	if err != nil {
		return err
	}
	defer p.sweepAhead()
	made, err := p.makeFor(ctx, task, u.spec, u.node, p.boxAhead())
	if err != nil {
		return err
	}
	return made.close()
}

// makeInside gets the image of a task and has its environment built in it, until end.
// Both are done as by the task's own run, of a task that never begins.
func (p *Pool) makeInside(ctx context.Context, next *prepared, w spec.Worker, node spec.NodeSpec, dirs folders) (end func() error, err error) {
	r := newRun(p, w.Name, &Record{Task: next.task.ID, Server: node.Server, Worker: w})
	r.task, r.dirs = next.task, dirs
	if err := os.MkdirAll(r.dirs.root, 0o711); err != nil {
		return nil, fmt.Errorf("cannot create the look-ahead's folder: %w", err)
	}
	letGo := func() {
		for _, release := range r.release {
			release()
		}
	}
	err = r.fetchImage(ctx, next)
	if err == nil {
		next.box.boxes, err = r.taskBoxes(next)
	}
	if err != nil {
		letGo()
		return nil, err
	}
	built := r.buildInside(next)
	return func() error { built(); letGo(); return nil }, nil
}

// aheadKey marks contexts in which an image is got for a task that has not come yet.
type aheadKey struct{}

// IsAhead tells whether nobody waits for what is done under the context.
func IsAhead(ctx context.Context) bool { return ctx.Value(aheadKey{}) != nil }

// boxAhead is for what a run keeps in its task's folder, sandboxes of builds among it.
func (p *Pool) boxAhead() folders { return folders{filepath.Join(p.scratchAhead(), "box")} }

// discardAhead ends what an earlier agent was preparing.
func (p *Pool) discardAhead(ctx context.Context) {
	if err := p.boxAhead().discardBoxes(ctx, p.cfg.Launcher); err != nil {
		p.cfg.Log.Warn("look-ahead's sandbox not ended", "error", err)
		return
	}
	p.sweepAhead()
}

func (p *Pool) scratchAhead() string { return filepath.Join(p.cfg.State, aheadFolder) }

func (p *Pool) sweepAhead() {
	if err := runtime.RemoveAll(p.scratchAhead()); err != nil {
		p.cfg.Log.Warn("look-ahead's folder not removed", "error", err)
	}
}

func (p *Pool) checkOutAhead(ctx context.Context, n *needs) (*repo.Checkout, error) {
	src, ok, err := n.source()
	if err != nil || !ok {
		return nil, err
	}
	defer p.endGit(src)
	checkout, err := p.cfg.Repos.Acquire(ctx, src, nil)
	if err != nil {
		return nil, err
	}
	p.collectAfter(checkout.Hit)
	return checkout, nil
}

// collectAfter keeps the caches within their limits after something was added.
func (p *Pool) collectAfter(hit bool) {
	if !hit {
		hint(p.grown)
	}
}
