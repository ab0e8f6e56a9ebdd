package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"agentctl/control"
	"agentctl/envcache"
	"agentctl/internal/fsx"
	"agentctl/reconcile"
	"agentctl/runtime/gpu"
	"agentctl/source"
	"agentctl/worker"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// agentFlags are the flags of `agentctl agent`.
type agentFlags struct {
	watch        string
	git          gitFlags
	serverListen string
	name         string
	labels       []string
	containment  string
	mountNS      string
	drain        bool
	once         bool
	idle         time.Duration
	forTasks     bool
	layers       string
	environ      []string // for one that is started, besides what is in this process's
	cdi          []string
}

func (a *app) agentCmd() *cobra.Command {
	var f agentFlags
	cmd := &cobra.Command{
		Use: "agent", Short: "Run the agent: the daemon that makes the workers happen",
		Long: `Run the agent in the foreground.

It follows the source that was recorded by the last "agentctl apply"; --watch
and --git name one only when none is recorded. SIGTERM ends the agent and leaves running
tasks to their shims: the next agent takes them up again. With --drain-on-stop it
takes no further task and waits for the end of those that run, by the "drain:" of
their workers. A second signal ends it at once; tasks go on under their shims.`,
		Example: "  agentctl agent\n  agentctl agent --watch /etc/agentctl/node.yaml\n  agentctl agent --git https://git.example.com/fleet.git --path nodes\n  agentctl agent --once    # one task for each worker, then exit",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.runAgent(cmd.Context(), f) },
	}
	a.agentOnlyFlags(cmd, &f)
	cmd.Flags().StringVar(&f.layers, "layers", "", "give the layers of images to the ids of sandboxes by this means alone: mapped (as they are mounted) or stored (on the disk; default the best that works)")
	cmd.Flags().StringArrayVar(&f.cdi, "cdi-spec-dir", nil, "folder of specifications of the Container Device Interface, of GPUs in sandboxes (repeatable; default /etc/cdi and /var/run/cdi)")
	cmd.Flags().StringVar(&f.watch, "watch", "", "spec file, or folder of them, to follow if no source is recorded")
	f.git.flags(cmd)
	cmd.Flags().BoolVar(&f.drain, "drain-on-stop", false, "at SIGTERM drain the workers before the end")
	cmd.Flags().BoolVar(&f.once, "once", false, "end when each worker has run one task")
	cmd.Flags().DurationVar(&f.idle, "idle-timeout", 0, "end when no worker has had a task for so long; 0 is never")
	cmd.Flags().BoolVar(&f.forTasks, startedForTasks, false, "end by --idle-timeout only while the spec has no workers")
	cmd.Flags().Lookup(startedForTasks).Hidden = true
	cmd.Flags().StringVar(&f.containment, "containment", "", "hold tasks by this means alone: cgroup2, cgroup1, pidns or subreaper (default the best that works)")
	cmd.Flags().StringVar(&f.mountNS, "mount-ns", "", "give tasks their view of the file system by this means alone: root, userns or none (default the best that works)")
	return cmd
}

// agentOnlyFlags are the flags that `apply` hands to an agent that it starts.
func (a *app) agentOnlyFlags(cmd *cobra.Command, f *agentFlags) {
	cmd.Flags().StringVar(&f.serverListen, "server-listen", defaultListen, "address of the embedded server; port 0 takes any free one")
	a.nodeNameFlag(cmd, f)
}

func (a *app) nodeNameFlag(cmd *cobra.Command, f *agentFlags) {
	cmd.Flags().StringVar(&f.name, "node-name", "", "name of this node (default the host name)")
	labelFlag(cmd, f)
}

func labelFlag(cmd *cobra.Command, f *agentFlags) {
	cmd.Flags().StringArrayVar(&f.labels, "label", nil, "label of this machine, as rack=r2, for the documents that match it (repeatable)")
}

// agent is the running daemon: everything it has opened.
type agent struct {
	*app
	flags   agentFlags
	name    string
	labels  map[string]string
	lock    *fsx.Lock
	sources *source.Manager
	// submitting is held while an update is handed over.
	submitting sync.Mutex
	// variables of clearml-agent that count over node.yaml.
	variables *variables
	servers   *servers
	envs      *envcache.Cache
	images    *images
	gpus      *gpu.Watcher
	pool      *worker.Pool
	loop      *reconcile.Loop
	socket    *control.Socket
	metrics   *control.Metrics
	log       *slog.Logger
	started   time.Time
}

// runAgent is the daemon's whole life. The order matters: the lock first, then
// the tasks of an earlier agent, then the last good spec, then a fresh one. What
// is not in a spec may be stopped only after all that.
func (a *app) runAgent(ctx context.Context, f agentFlags) error {
	if f.idle < 0 {
		return usagef("--idle-timeout must not be negative")
	}
	ag := &agent{app: a, flags: f, log: a.logger(), started: time.Now()}
	if err := ag.open(ctx); err != nil {
		return err
	}
	defer ag.close()
	signalled := ctx.Done()
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	// What Recover starts must end with the group, or the group would wait for it.
	group, ctx := errgroup.WithContext(life)
	group.Go(func() error { return ag.gpus.Run(ctx) })
	// Before the first plan: workers that want a GPU would wait for one, else.
	ag.gpus.First(ctx)
	group.Go(func() error { return ag.tellGPUs(ctx) })
	if err := ag.pool.Recover(ctx); err != nil {
		stop()
		return errors.Join(err, group.Wait())
	}
	ag.loop.Look() // else the first who asks is told that there is no such task
	group.Go(func() error { return ag.pool.Run(ctx) })
	group.Go(func() error { return ag.loop.Run(ctx) })
	group.Go(func() error { return ag.sources.Run(ctx) })
	group.Go(func() error { return ag.feed(ctx) })
	group.Go(func() error { return ag.servers.keep(ctx, ag.loop.Watch(ctx)) })
	group.Go(func() error { return ag.metrics.Run(ctx, ag.loop) })
	group.Go(func() error { return ag.controlServer(stop).Serve(ctx, ag.socket) })
	group.Go(func() error { return notifySystemd(ctx, ag.loop) })
	group.Go(func() error {
		defer stop()
		leaving{workers: ag.pool, news: ag.loop.Watch, drain: f.drain, once: f.once, idle: f.idle, stays: ag.stays}.wait(ctx, signalled)
		return nil
	})
	ag.log.Info("agent started", "version", version, "node", ag.name, "state", cmp.Or(ag.mount.outside(a.state), a.state), "socket", a.socket, "source", ag.sources.Current().String())
	err := group.Wait()
	ag.log.Info("agent ended; running tasks go on under their shims")
	return err
}
