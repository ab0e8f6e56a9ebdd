package worker

import (
	"fmt"
	"os"
)

// limitDisk limits what a task of a sandbox writes to the disk: into its own folders, and
// over its image, its environment and its code. The folders are still empty.
func (r *run) limitDisk() error {
	size := int64(r.rec.Worker.Sandbox.Scratch.Size)
	if size == 0 {
		return nil
	}
	if err := r.pool.quotas.Available(); err != nil {
		r.say("WARNING: what the task writes to the disk is not limited (spec.sandbox.scratch.size): %v", err)
		return nil
	}
	if err := os.Mkdir(r.dirs.upper(), 0o700); err != nil {
		return fmt.Errorf("cannot create the task's folder: %w", err)
	}
	return Infrastructure(r.pool.quotas.Limit(size, r.dirs.home(), r.dirs.tmp(), r.dirs.code(), r.dirs.upper()))
}

// freeQuotas gives back the limits of tasks that are gone.
func (p *Pool) freeQuotas() {
	if err := p.quotas.Sweep(); err != nil {
		p.cfg.Log.Warn("limits of the disk not given back", "error", err)
	}
}
