package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"agentctl/envcache"
	"agentctl/runtime"
	"agentctl/runtime/shimbin"
)

// Things that are measured of agentctl's hits alone.
const (
	start  = "start of nothing, no environment"
	handed = "hit, and start of nothing in it"
	full   = "hit, 100 environments more"
)

// crowd is how many more environments the cache holds for the kind full.
const crowd = 100

// handover measures what a task waits for: the hit, and a start in which the
// environment is seen through a layer of the task's own. The same start without
// an environment stands beside it.
func (o *ours) handover(ctx context.Context, r *results, s set) error {
	shim, err := shimbin.Extract(o.state)
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	host, err := runtime.Probe(ctx, shim, o.state, log)
	if err != nil {
		return err
	}
	launcher := runtime.NewLauncher(shim, host, log)
	for i := range hits {
		for _, kind := range []string{start, handed} {
			took, err := timed(func() error { return o.startNothing(ctx, launcher, s, kind, i) })
			if err != nil {
				return err
			}
			r.add(s.name, o.name(), kind, took)
		}
	}
	return nil
}

func (o *ours) startNothing(ctx context.Context, launcher *runtime.Launcher, s set, kind string, i int) error {
	dir := filepath.Join(o.state, "tasks", fmt.Sprintf("%s-%s-%d", kind[:3], s.name, i))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	cfg := runtime.Config{ID: filepath.Base(dir), Dir: dir, UID: -1, GID: -1, Args: []string{"/bin/true"}, Cwd: "/"}
	var leases []*os.File
	if kind == handed {
		lease, err := o.acquire(ctx, s)
		if err != nil {
			return err
		}
		defer func() { _ = lease.Close() }()
		cfg.Overlays = []runtime.Overlay{{Target: lease.Path, Lower: lease.Path, Upper: filepath.Join(dir, "upper")}}
		leases = append(leases, lease.File())
	}
	task, err := launcher.Start(ctx, cfg, leases...)
	if err != nil {
		return err
	}
	exit, err := task.Wait(ctx)
	if err == nil && exit.Code != 0 {
		err = fmt.Errorf("/bin/true ended with %+v", exit)
	}
	return err
}

// fill gives the cache a hundred environments more, and measures the hit again.
func (o *ours) fill(ctx context.Context, r *results, s set) error {
	for i := range crowd {
		req := envcache.Request{
			Manager: o.manager, Python: o.place.python, Constraints: []string{fmt.Sprintf("nothing<%d", i+1)},
			UID: envcache.SameUser, GID: envcache.SameUser,
		}
		lease, err := o.cache.Acquire(ctx, req, nil)
		if err != nil {
			return err
		}
		if err := lease.Close(); err != nil {
			return err
		}
	}
	for range hits {
		took, err := timed(func() error { _, err := o.hit(ctx, s); return err })
		if err != nil {
			return err
		}
		r.add(s.name, o.name(), full, took)
	}
	return nil
}
