package worker

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"agentctl/clearml"
	"agentctl/internal/crash"
	"agentctl/runtime"
	"agentctl/spec"
)

// sparesFolder of the state folder holds the folders of sandboxes that are made ahead.
const sparesFolder = "spares"

// wish is the sandbox that the next task of a worker most likely gets.
type wish struct {
	spec   spec.Worker
	slots  []string
	server spec.Server
	git    spec.Git
	last   lastTask
	key    string // all of it
	free   bool   // the worker waits for a task
}

// wishes are those of the workers that may have a sandbox made ahead.
func (p *Pool) wishes(last map[string]lastTask) map[string]wish {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := map[string]wish{}
	for name, s := range p.workers {
		if p.node == nil || !makesAhead(s.spec) || s.draining || p.ordered(name) != nil {
			continue
		}
		w := wish{
			spec: s.spec, slots: s.gpus, server: p.node.Spec.Server, git: p.node.Spec.Git, last: last[name],
			free: p.idle(s),
		}
		key, err := json.Marshal([]any{w.spec, w.slots, w.server, w.git, w.last, p.bytecode.generation()})
		if err != nil {
			panic(err) // a spec always encodes
		}
		w.key = string(key)
		out[name] = w
	}
	return out
}

// makesAhead tells whether sandboxes of a worker are made before they are needed.
func makesAhead(w spec.Worker) bool {
	ahead := w.Sandbox.CreateAhead
	return w.Mode == spec.ModeSandbox && ahead != nil && *ahead
}

// folder makes the folder of a sandbox. It is there before anything else is: by it the
// next start finds what this one leaves.
func (s *spares) folder() (name, dir string, err error) {
	name = "ahead-" + rand.Text()[:12]
	dir = filepath.Join(s.root, name)
	if err = os.MkdirAll(dir, 0o711); err != nil {
		return "", "", fmt.Errorf("cannot create the folder of a sandbox: %w", err)
	}
	crash.Point("spare.intent")
	return name, dir, nil
}

// begin begins making a sandbox; nothing of it is left if that fails.
func (s *spares) begin(ctx context.Context, name, dir string, cfg runtime.Config) (*runtime.Spare, error) {
	cfg.ID, cfg.Dir = name, dir
	box, err := s.pool.cfg.Launcher.Prepare(ctx, cfg)
	crash.Point("spare.made")
	if err != nil {
		return nil, errors.Join(err, runtime.RemoveAll(dir))
	}
	return box, nil
}

// beside makes a sandbox that is laid out for a task whose environment and checkout
// are still being made.
func (s *spares) beside(ctx context.Context, cfg runtime.Config) (*waiting, error) {
	name, dir, err := s.folder()
	if err != nil {
		return nil, err
	}
	box, err := s.begin(ctx, name, dir, cfg)
	if err != nil {
		return nil, err
	}
	return &waiting{box: box, how: sandboxBeside}, nil
}

// makeIdle makes the sandbox of a wish, of an image that is here: none is pulled for a
// task that may not come.
func (s *spares) makeIdle(ctx context.Context, w wish) (*waiting, error) {
	n := needs{task: &clearml.Task{Container: w.last.Asked}, git: w.git, rule: rulingOf(w.spec, w.last.Rule)}
	if err := s.pool.sandboxOf(&n, w.spec); err != nil {
		return nil, err
	}
	here := w.spec.Sandbox
	here.Pull = spec.PullNever
	var err error
	if n.box.image, err = s.pool.cfg.Images.Acquire(ctx, n.box.Image, here, func(string, int64, int64) {}); err != nil {
		return nil, err
	}
	s.pool.bytecode.put(ctx, n.box.image, w.spec, n.box.ids)
	if err := s.pool.packagesHere(ctx, n.box, w.spec); err != nil {
		return nil, errors.Join(err, n.box.image.Close())
	}
	made, err := s.layOut(ctx, w, &prepared{needs: n})
	if err != nil {
		return nil, errors.Join(err, n.box.image.Close())
	}
	made.release = func() { _ = n.box.image.Close() }
	return made, nil
}

func (s *spares) layOut(ctx context.Context, w wish, p *prepared) (*waiting, error) {
	scratch := w.spec.Sandbox.Scratch
	if len(p.box.image.Layers) > 0 && scratch.Size > 0 && scratch.Medium != spec.MediumMemory && s.pool.quotas.Available() == nil {
		return nil, errors.New("what a task writes to the disk is limited in its own folder alone")
	}
	var err error
	if p.owner, err = p.box.owner(); err != nil {
		return nil, err
	}
	var urls []string
	if p.box.Settings.Network != spec.NetworkHost {
		conn, err := s.pool.conn.get(ctx, w.server)
		if err != nil {
			return nil, err
		}
		urls = conn.Endpoints.servers()
	}
	name, dir, err := s.folder()
	if err != nil {
		return nil, err
	}
	log := s.pool.cfg.Log.With("worker", w.spec.Name)
	// What there is to say of a network is said on the console of the task, too.
	at := site{pool: s.pool, worker: w.spec, slots: w.slots, dirs: folders{dir}, log: log, say: func(string, ...any) {}}
	if err := at.lay(ctx, p, urls...); err != nil {
		return nil, errors.Join(err, runtime.RemoveAll(dir))
	}
	box, err := s.begin(ctx, name, dir, p.box.laid)
	if err != nil {
		return nil, err
	}
	// One that can't be made is no task's to find out.
	if err := box.Ready(ctx); err != nil {
		return nil, errors.Join(err, box.Remove())
	}
	return &waiting{box: box, how: sandboxAhead}, nil
}

// sweep ends what an earlier agent left.
func (s *spares) sweep(ctx context.Context) {
	entries, err := os.ReadDir(s.root)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.pool.cfg.Log.Warn("sandboxes made ahead not swept", "error", err)
	}
	for _, e := range entries {
		if err := s.pool.cfg.Launcher.Discard(ctx, filepath.Join(s.root, e.Name())); err != nil {
			s.pool.cfg.Log.Warn("sandbox made ahead not swept", "error", err)
		}
	}
}
