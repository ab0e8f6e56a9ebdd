package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"agentctl/envcache"
	"agentctl/internal/crash"
	"agentctl/runtime"

	"github.com/samber/lo"
)

// buildBoxes are the sandboxes in which a task's environment is built: of the task's
// image and as its user, with the network of builds. Each shows, of the state folder,
// what its programs need and no more; there is one at a time, and it stays for the
// next program that needs the same.
type buildBoxes struct {
	launcher *runtime.Launcher
	base     runtime.Config                                  // with a sandbox
	network  func(context.Context) (*runtime.Sandbox, error) // of taskBoxes
	root     string                                          // folder of the task
	name     string                                          // tells them from others of the task
	leases   []*os.File                                      // of the image
	upper    string                                          // keeps what is written; "" below the box's own

	mu    sync.Mutex
	made  int
	task  *runtime.Task
	seen  []string // folders that it was made with
	least bool     // it leaves the CPUs to others
}

// boxPrefix begins the names of their folders below the task's.
const boxPrefix = "box-"

// longestBuild ends a sandbox whose agent died and never came back.
const longestBuild = 24 * time.Hour

// Run is envcache.Exec.
func (b *buildBoxes) Run(ctx context.Context, c envcache.Cmd) (envcache.Exit, error) {
	task, err := b.box(ctx, c)
	if err != nil {
		return envcache.Exit{}, err
	}
	defer b.promoteWhen(c, task)()
	cfg := runtime.ExecConfig{Args: c.Args, Env: c.Env, Cwd: c.Dir, Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr}
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		code, err := runtime.Exec(ctx, task.Dir(), cfg)
		if ctx.Err() != nil {
			return envcache.Exit{Code: -1}, context.Cause(ctx)
		}
		if !errors.Is(err, runtime.ErrNoExec) {
			return envcache.Exit{Code: code}, err
		}
		select { // it is being made
		case <-time.After(pause):
		case <-ctx.Done():
		case <-task.Done():
			return envcache.Exit{}, b.gone(ctx, task)
		}
	}
}

// promoteWhen has a sandbox leave the CPUs to others no longer once somebody waits for
// what runs in it; what it returns ends the waiting for that.
func (b *buildBoxes) promoteWhen(c envcache.Cmd, task *runtime.Task) (end func()) {
	if !c.Nice {
		return func() {}
	}
	done := make(chan struct{})
	var waiting sync.WaitGroup
	waiting.Go(func() {
		select {
		case <-done:
		case <-c.Lift:
			b.mu.Lock()
			defer b.mu.Unlock()
			_ = b.promote(task) // else it gets what others leave, still
		}
	})
	return func() { close(done); waiting.Wait() }
}

// promote gives a sandbox the usual share of the CPUs. The mutex is held.
func (b *buildBoxes) promote(task *runtime.Task) error {
	if !b.least || b.task != task {
		return nil
	}
	b.least = false
	return task.Promote()
}

// gone tells why there is no sandbox.
func (b *buildBoxes) gone(ctx context.Context, task *runtime.Task) error {
	exit, err := task.Wait(ctx)
	if err != nil {
		return err
	}
	return fmt.Errorf("the sandbox of the build ended: %s: %s", exit.Reason, exit.Message)
}

// networked is base with the network of builds.
func (b *buildBoxes) networked(ctx context.Context) (runtime.Config, error) {
	cfg := b.base
	if b.network == nil {
		return cfg, nil
	}
	of, err := b.network(ctx)
	if err != nil {
		return cfg, err
	}
	box := *cfg.Sandbox
	box.Network, box.Hosts, box.ResolvConf = of.Network, of.Hosts, of.ResolvConf
	cfg.Sandbox = &box
	return cfg, nil
}

// box gives the sandbox for a program.
func (b *buildBoxes) box(ctx context.Context, c envcache.Cmd) (*runtime.Task, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	wanted := slices.Concat(c.Writes, []string{"-"}, c.Reads, []string{"-"}, lo.Map(c.Covers, func(c envcache.Cover, _ int) string { return c.Upper }))
	if b.task != nil && slices.Equal(wanted, b.seen) {
		if !c.Nice {
			return b.task, b.promote(b.task)
		}
		return b.task, nil
	}
	if err := b.end(ctx); err != nil {
		return nil, err
	}
	b.made++
	cfg, err := b.networked(ctx)
	if err != nil {
		return nil, err
	}
	box := *cfg.Sandbox
	cfg.Sandbox = &box
	if b.least = c.Nice; c.Nice {
		box.Resources.CPUShares, box.OOMScoreAdj = runtime.LeastShare, new(1000)
	}
	cfg.Dir = filepath.Join(b.root, fmt.Sprintf("%s%s-%d", boxPrefix, b.name, b.made))
	cfg.Args, cfg.Env, cfg.Cwd = runtime.IdleArgs(), nil, "/"
	cfg.Keep, cfg.MaxRuntime, cfg.Grace = c.Writes, longestBuild, 0
	cfg.Overlays = nil
	for _, dir := range c.Reads {
		cfg.Overlays = append(cfg.Overlays, runtime.Overlay{Target: dir, Lower: dir})
	}
	for _, c := range c.Covers {
		cfg.Overlays = append(cfg.Overlays, runtime.Overlay{Target: c.Folder, Lower: c.Folder, Upper: c.Upper})
	}
	if err := os.Mkdir(cfg.Dir, 0o711); err != nil {
		return nil, err
	}
	switch {
	case b.upper != "":
		box.Upper, box.UpperSize = b.upper, 0
	case box.Upper != "":
		box.Upper = filepath.Join(cfg.Dir, "root")
		if err := os.Mkdir(box.Upper, 0o700); err != nil {
			return nil, err
		}
	}
	task, err := b.launcher.Start(ctx, cfg, append(slices.Clone(c.Files), b.leases...)...)
	if err != nil {
		return nil, errors.Join(err, runtime.RemoveAll(cfg.Dir))
	}
	crash.Point("box.started")
	b.task, b.seen = task, wanted
	return task, nil
}

// close ends what runs.
func (b *buildBoxes) close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return b.end(ctx)
}

// idle ends what runs until another program comes.
func (b *buildBoxes) idle(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.end(ctx)
}

func (b *buildBoxes) end(ctx context.Context) error {
	if b.task == nil {
		return nil
	}
	b.seen = nil // nothing more is to run in it, whether or not it ends
	if err := b.launcher.End(ctx, b.task); err != nil {
		return fmt.Errorf("cannot end the sandbox of a build: %w", err)
	}
	dir := b.task.Dir()
	b.task = nil
	return runtime.RemoveAll(dir)
}

// discardBoxes ends the sandboxes of builds that an earlier agent left.
func (f folders) discardBoxes(ctx context.Context, launcher *runtime.Launcher) error {
	entries, err := os.ReadDir(f.root)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), boxPrefix) {
			if err := launcher.Discard(ctx, filepath.Join(f.root, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
