package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"agentctl/envcache"
	"agentctl/internal/fsx"
	"agentctl/runtime"

	"github.com/samber/lo"
)

// rangeFile of the state folder tells that environments of the range were made there.
const rangeFile = "range"

// insideArgs is the command that calls Inside.
var insideArgs = []string{"/proc/self/exe", "inside"}

// inside has a child in the range of ids do what is ordered.
func inside(ctx context.Context, ids runtime.IDRange, o insideOrder, say func(envcache.Progress), streams envcache.Cmd) (insideAnswer, error) {
	cmd := exec.Command(insideArgs[0], insideArgs[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = streams.Stdin, streams.Stdout, streams.Stderr, streams.Files
	if cmd.Stderr == nil {
		cmd.Stderr = os.Stderr
	}
	cmd.WaitDelay = time.Second // for a stream that nobody ends
	enter := func(cmd *exec.Cmd) error { return runtime.EnterRange(cmd, ids) }
	a, err := runtime.Delegate(ctx, cmd, enter, o, func(a insideAnswer) {
		if a.Progress != nil && say != nil {
			say(*a.Progress)
		}
	})
	switch cause := context.Cause(ctx); {
	case cause != nil && (err != nil || a.Error != ""):
		return a, cause
	case err != nil:
		return a, fmt.Errorf("cannot work in the range of ids: %w", err)
	case a.Error != "":
		return a, errors.New(a.Error)
	}
	return a, nil
}

// ownRange is all ids that an agent which is not root has besides its own.
func ownRange() (runtime.IDRange, error) {
	uids, _, err := runtime.SubIDs()
	return uids, err
}

// RemoveFromRange removes a folder in which files are of the agent's subordinate ids.
// It is for an agent that is not root.
func RemoveFromRange(top string) error {
	ids, err := ownRange()
	if err == nil {
		_, err = inside(context.Background(), ids, insideOrder{Remove: []string{top}}, nil, envcache.Cmd{})
	}
	if err != nil {
		return fmt.Errorf("cannot remove %s: %w", top, err)
	}
	return nil
}

// GiveToRange makes a tree readable and gives it to one of the agent's subordinate
// ids. It is for an agent that is not root.
func GiveToRange(ctx context.Context, top string, uid, gid int) error {
	ids, err := ownRange()
	if err == nil {
		give := insideGive{top, uid - ids.Base + 1, gid - ids.Base + 1}
		_, err = inside(ctx, ids, insideOrder{Give: &give}, nil, envcache.Cmd{})
	}
	if err != nil {
		return fmt.Errorf("cannot give %s to user %d: %w", top, uid, err)
	}
	return nil
}

// RangeExec runs programs on the host, those of subordinate ids as these. It is for an
// agent that is not root.
type RangeExec struct{}

// Run is envcache.Exec.
func (RangeExec) Run(ctx context.Context, c envcache.Cmd) (envcache.Exit, error) {
	if c.UID <= 0 || c.UID == os.Geteuid() {
		return envcache.HostExec{}.Run(ctx, c)
	}
	ids, err := ownRange()
	if err != nil {
		return envcache.Exit{}, err
	}
	run := insideRun{Args: c.Args, Env: c.Env, Dir: c.Dir, UID: c.UID - ids.Base + 1, GID: c.GID - ids.Base + 1}
	c.Files = nil
	a, err := inside(ctx, ids, insideOrder{Run: &run}, nil, c)
	return envcache.Exit{Code: a.Code}, err
}

// buildAway has an environment built by a child in the range of ids: what is in it, and
// what its programs leave, is none of the agent's.
func (r *run) buildAway(p *prepared, b *buildBoxes) func(context.Context, envcache.Request, func(envcache.Progress)) (bool, string, error) {
	return func(ctx context.Context, req envcache.Request, say func(envcache.Progress)) (bool, string, error) {
		if err := b.idle(ctx); err != nil { // what asked for the interpreter
			return false, "", err
		}
		out, err := r.pool.cfg.Launcher.Outside()
		if err == nil { // before anything is there
			err = fsx.WriteFile(filepath.Join(r.pool.cfg.State, rangeFile), nil, 0o600)
		}
		if err != nil {
			return false, "", err
		}
		base, err := b.networked(ctx)
		if err != nil {
			return false, "", err
		}
		in := insideNumbers(base, p.box.ids)
		req.UID, req.GID, req.Root = p.owner.UID-p.box.ids.Base+1, p.owner.GID-p.box.ids.Base+1, nil
		o := insideBuild{
			State: r.pool.cfg.State, Root: r.dirs.root, Outside: out, Base: in, Leases: len(b.leases), Hide: r.pool.hidden(),
			Image: p.root.ID, Owner: p.root.Owner, Request: req,
		}
		a, err := inside(ctx, p.box.ids, insideOrder{Build: &o}, say, envcache.Cmd{Files: b.leases})
		if err != nil { // a child that was killed leaves its sandbox
			err = errors.Join(err, r.dirs.discardBoxes(context.WithoutCancel(ctx), r.pool.cfg.Launcher))
		}
		return a.Hit, a.Why, err
	}
}

// insideNumbers is a sandbox of the range with the ids as they are numbered inside.
func insideNumbers(cfg runtime.Config, ids runtime.IDRange) runtime.Config {
	box := *cfg.Sandbox
	box.IDs = runtime.IDRange{Base: 1, Size: ids.Size}
	cfg.Sandbox = &box
	return cfg
}

// KeepsRange tells whether environments of subordinate ids are in a state folder.
func KeepsRange(state string) bool { return exists(filepath.Join(state, rangeFile)) }

// boxed tells whether sandboxes of an agent that is not root may have left files of
// the range in its caches, which it can neither read nor remove.
func (p *Pool) boxed() (runtime.IDRange, bool) {
	if os.Geteuid() == 0 || !KeepsRange(p.cfg.State) {
		return runtime.IDRange{}, false
	}
	ids, err := ownRange()
	return ids, err == nil
}

// collectEnvs keeps the environments within limits.
func (p *Pool) collectEnvs(ctx context.Context, limits envcache.Limits) (envcache.Collected, error) {
	ids, boxed := p.boxed()
	if !boxed {
		return p.cfg.Envs.Collect(ctx, limits)
	}
	a, err := inside(ctx, ids, insideOrder{Collect: &insideKeep{p.cfg.State, limits}}, nil, envcache.Cmd{})
	return lo.FromPtr(a.Collected), err
}

// recheckEnvs examines the environments that are in doubt.
func (p *Pool) recheckEnvs(ctx context.Context) (envcache.Rechecked, error) {
	ids, boxed := p.boxed()
	if !boxed {
		return p.cfg.Envs.Recheck(ctx)
	}
	a, err := inside(ctx, ids, insideOrder{Recheck: p.cfg.State}, nil, envcache.Cmd{})
	return lo.FromPtr(a.Rechecked), err
}
