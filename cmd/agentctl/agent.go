package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"agentctl/control"
	"agentctl/envcache"
	"agentctl/envcache/repo"
	"agentctl/internal/fsx"
	"agentctl/reconcile"
	"agentctl/runtime"
	"agentctl/runtime/shimbin"
	"agentctl/source"
	"agentctl/spec"
	"agentctl/worker"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

// agentFlags are the flags of `agentctl agent`.
type agentFlags struct {
	watch        string
	serverListen string
	name         string
	containment  string
	mountNS      string
}

func (a *app) agentCmd() *cobra.Command {
	var f agentFlags
	cmd := &cobra.Command{
		Use: "agent", Short: "Run the agent: the daemon that makes the workers happen",
		Long: `Run the agent in the foreground.

It follows the source that was recorded by the last "agentctl apply"; --watch
names one only when none is recorded. SIGTERM ends the agent and leaves running
tasks to their shims: the next agent takes them up again.`,
		Example: "  agentctl agent\n  agentctl agent --watch /etc/agentctl/node.yaml",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.runAgent(cmd.Context(), f) },
	}
	a.agentOnlyFlags(cmd, &f)
	cmd.Flags().StringVar(&f.watch, "watch", "", "spec file to follow if no source is recorded")
	cmd.Flags().StringVar(&f.containment, "containment", "", "hold tasks by this means alone: cgroup2, cgroup1, pidns or subreaper (default the best that works)")
	cmd.Flags().StringVar(&f.mountNS, "mount-ns", "", "give tasks their view of the file system by this means alone: root, userns or none (default the best that works)")
	return cmd
}

// agentOnlyFlags are the flags that `apply` hands to an agent that it starts.
func (a *app) agentOnlyFlags(cmd *cobra.Command, f *agentFlags) {
	cmd.Flags().StringVar(&f.serverListen, "server-listen", "127.0.0.1:8008", "address of the embedded server; port 0 takes any free one")
	a.nodeNameFlag(cmd, f)
}

func (a *app) nodeNameFlag(cmd *cobra.Command, f *agentFlags) {
	cmd.Flags().StringVar(&f.name, "node-name", "", "name of this node (default the host name)")
}

// agent is the running daemon: everything it has opened.
type agent struct {
	*app
	flags   agentFlags
	name    string
	lock    *fsx.Lock
	sources *source.Manager
	servers *servers
	envs    *envcache.Cache
	pool    *worker.Pool
	loop    *reconcile.Loop
	socket  *control.Socket
	metrics *control.Metrics
	log     *slog.Logger
	started time.Time
}

// runAgent is the daemon's whole life. The order matters: the lock first, then
// the tasks of an earlier agent, then the last good spec, then a fresh one. What
// is not in a spec may be stopped only after all that.
func (a *app) runAgent(ctx context.Context, f agentFlags) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ag := &agent{app: a, flags: f, log: a.logger(), started: time.Now()}
	if err := ag.open(ctx); err != nil {
		return err
	}
	defer ag.close()
	if err := ag.pool.Recover(ctx); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return ag.pool.Run(ctx) })
	group.Go(func() error { return ag.loop.Run(ctx) })
	group.Go(func() error { return ag.sources.Run(ctx) })
	group.Go(func() error { return ag.feed(ctx) })
	group.Go(func() error { return ag.servers.keep(ctx, ag.loop.Watch(ctx)) })
	group.Go(func() error { return ag.metrics.Run(ctx, ag.loop) })
	group.Go(func() error { return ag.controlServer(stop).Serve(ctx, ag.socket) })
	group.Go(func() error { return notifySystemd(ctx, ag.loop) })
	ag.log.Info("agent started", "version", version, "node", ag.name, "state", a.state, "socket", a.socket, "source", ag.sources.Current().String())
	err := group.Wait()
	ag.log.Info("agent ended; running tasks go on under their shims")
	return err
}

func (ag *agent) open(ctx context.Context) (err error) {
	defer func() {
		if err != nil {
			ag.close()
		}
	}()
	log := ag.log
	if ag.name, err = ag.nodeName(); err != nil {
		return err
	}
	// Others pass through to their environments; nobody lists it.
	if err = os.MkdirAll(ag.state, 0o711); err != nil {
		return fmt.Errorf("cannot create the state folder: %w", err)
	}
	if ag.lock, err = fsx.TryLock(filepath.Join(ag.state, "agent.lock")); err != nil {
		if errors.Is(err, fsx.ErrLocked) {
			return fmt.Errorf("an agent is already running with the state folder %s", ag.state)
		}
		return err
	}
	if err = ag.openSources(); err != nil {
		return err
	}
	if ag.envs, err = envcache.Open(ag.state, envcache.Options{Log: log}); err != nil {
		return err
	}
	repos, err := repo.Open(ag.state, repo.Options{Log: log})
	if err != nil {
		return err
	}
	finder, err := envcache.NewFinder(ag.state, envcache.Options{Log: log})
	if err != nil {
		return err
	}
	shim, err := shimbin.Extract(ag.state)
	if err != nil {
		return err
	}
	host, err := runtime.Probe(ctx, shim, ag.state, log)
	if err == nil {
		host, err = host.Only(ag.flags.containment, ag.flags.mountNS)
	}
	if err != nil {
		return err
	}
	ag.servers = &servers{app: ag.app, listen: ag.flags.serverListen, log: log, count: ag.countAPI}
	ag.pool = worker.NewPool(worker.Config{
		State: ag.state, Connect: ag.servers.connect, Log: log, Environ: os.LookupEnv,
		Launcher: runtime.NewLauncher(shim, host, log), Host: host,
		Envs: ag.envs, Finder: finder, Repos: repos,
	})
	ag.loop = reconcile.NewLoop(reconcile.Config{Name: ag.name, Runner: ag.pool, Store: ag.sources, LastGood: lastGood(ag.sources), Log: log})
	ag.metrics = control.NewMetrics(version, ag.loop)
	ag.socket, err = control.Listen(ag.app.socket)
	return err
}

func (ag *agent) close() {
	if ag.socket != nil {
		_ = ag.socket.Close()
	}
	if ag.lock != nil {
		_ = ag.lock.Close()
	}
}

func (ag *agent) nodeName() (string, error) {
	if ag.flags.name != "" {
		return ag.flags.name, nil
	}
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("cannot find the host name, give --node-name: %w", err)
	}
	return spec.NodeName(host), nil
}

// openSources opens what is recorded of the spec, and names the file of the flags
// if nothing is.
func (ag *agent) openSources() (err error) {
	if ag.sources, err = source.Open(filepath.Join(ag.state, "spec"), source.Options{NodeName: ag.name, Log: ag.log}); err != nil {
		return err
	}
	if ag.flags.watch == "" {
		return nil
	}
	path, err := filepath.Abs(ag.flags.watch)
	if err != nil {
		return fmt.Errorf("cannot watch %s: %w", ag.flags.watch, err)
	}
	taken, err := ag.sources.UseFlags(path)
	if present := ag.sources.Current(); err == nil && !taken && present.Path != path {
		ag.log.Warn("the recorded source stays; apply --take-over replaces it", "source", present.String(), "flag", path)
	}
	return err
}

func lastGood(m *source.Manager) *reconcile.LastGood {
	r, text, ok := m.LastGood()
	if !ok {
		return nil
	}
	return &reconcile.LastGood{Text: text, Revision: reconcile.Revision{
		Number: r.Number, Digest: r.Digest, Time: r.Time, Origin: reconcile.Origin{Kind: r.Kind, Path: r.Path},
	}}
}

// feed hands what the source says to the loop. SIGHUP has a file read at once.
func (ag *agent) feed(ctx context.Context) error {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	for {
		select {
		case <-ctx.Done():
			return nil
		case u := <-ag.sources.Updates():
			if _, err := ag.submitSpec(ctx, u); err != nil && ctx.Err() == nil {
				return err
			}
		case <-hangup:
			if _, err := ag.Reload(ctx); err != nil && ctx.Err() == nil {
				ag.log.Warn("cannot read the source again", "error", err)
			}
		}
	}
}

// submitSpec hands one update over and counts what became of it.
func (ag *agent) submitSpec(ctx context.Context, u source.Update) (reconcile.Result, error) {
	res, err := ag.loop.Submit(ctx, reconcile.SpecUpdate{
		Text: u.Text, Err: u.Err, Seq: u.Seq, Origin: reconcile.Origin{Kind: u.Source.Kind, Path: u.Source.Path},
	})
	if err == nil {
		ag.metrics.Reconciled(res)
	}
	return res, err
}

// countAPI counts requests to ClearML servers. The metrics are made after what
// sends them.
func (ag *agent) countAPI(next http.RoundTripper) http.RoundTripper {
	return ag.metrics.Transport(next)
}

// stale is how old the loop's snapshot may be before the agent counts as hung: it
// is made anew twice a minute at least.
const stale = 90 * time.Second

type snapshots interface{ Snapshot() *reconcile.Snapshot }

// notifySystemd says that the agent is ready, keeps its watchdog quiet while the
// loop turns, and says that it stops. Outside systemd it does nothing.
func notifySystemd(ctx context.Context, loop snapshots) error {
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
	defer func() { _, _ = daemon.SdNotify(false, daemon.SdNotifyStopping) }()
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		<-ctx.Done()
		return nil
	}
	t := time.NewTicker(every / 2)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			if time.Since(loop.Snapshot().Time) < stale {
				_, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog)
			}
		}
	}
}
