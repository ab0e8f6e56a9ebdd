package worker

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"

	"agentctl/runtime/dockerargs"
	"agentctl/spec"

	"github.com/samber/lo"
)

// site is where a sandbox is laid out, of a task or ahead of one, and who hears of it.
type site struct {
	pool   *Pool
	worker spec.Worker
	slots  []string // of the GPUs that it is to show
	dirs   folders
	log    *slog.Logger
	say    func(format string, args ...any)
}

func (r *run) site() site {
	return site{pool: r.pool, worker: r.rec.Worker, slots: r.rec.Slots, dirs: r.dirs, log: r.log, say: r.say}
}

// lay gives the sandbox of p all that it has before environment and checkout. The
// same settings make the same of it, for a task and ahead of one: then it fits.
func (s site) lay(ctx context.Context, p *prepared, urls ...string) error {
	cfg, settings := &p.box.laid, p.box.Settings
	cfg.Hide = s.pool.hidden()
	if err := s.confine(ctx, cfg, p, cmp.Or(settings.Network, dockerargs.NetworkHost), urls...); err != nil {
		return err
	}
	cfg.Sandbox.Mounts = lo.Map(settings.Mounts, mountOf)
	cfg.Sandbox.HostIPC = settings.HostIPC
	var err error
	if cfg.Sandbox.Devices, err = devicesOf(settings.Devices); err != nil {
		return err
	}
	return s.showGPUs(p)
}

// hidden are the folders of the agent that no task sees.
func (p *Pool) hidden() []string {
	all := append([]string{p.cfg.State}, p.cfg.Hide...)
	return lo.Filter(all, func(dir string, i int) bool { // what lies in another one is hidden with it
		return !slices.ContainsFunc(all, func(o string) bool { return strings.HasPrefix(dir, o+"/") })
	})
}
