package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
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
	return cmd
}

// agentOnlyFlags are the flags that `apply` hands to an agent that it starts.
func (a *app) agentOnlyFlags(cmd *cobra.Command, f *agentFlags) {
	cmd.Flags().StringVar(&f.serverListen, "server-listen", "127.0.0.1:8008", "address of the embedded server; port 0 takes any free one")
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
	if err := ag.restore(ctx); err != nil {
		return err
	}
	group.Go(func() error { return ag.follow(ctx) })
	group.Go(func() error { return ag.controlServer(stop).Serve(ctx, ag.socket) })
	group.Go(func() error { return notifySystemd(ctx) })
	ag.log.Info("agent started", "version", version, "node", ag.name, "state", a.state, "socket", a.socket, "source", ag.sources.Present().String())
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
	if ag.sources, err = source.Open(filepath.Join(ag.state, "spec")); err != nil {
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
	if err != nil {
		return err
	}
	ag.servers = &servers{app: ag.app, listen: ag.flags.serverListen, log: log}
	ag.pool = worker.NewPool(worker.Config{
		State: ag.state, Connect: ag.servers.connect, Log: log, Environ: os.LookupEnv,
		Launcher: runtime.NewLauncher(shim, host, log), Host: host,
		Envs: ag.envs, Finder: finder, Repos: repos,
	})
	ag.loop = reconcile.NewLoop(reconcile.Config{Name: ag.name, Runner: ag.pool, Store: revisions{ag.sources}, Log: log})
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

// restore hands the last good spec to the loop and settles which source there is.
func (ag *agent) restore(ctx context.Context) error {
	if ag.flags.watch != "" && ag.sources.Present().Kind == "" {
		path, err := filepath.Abs(ag.flags.watch)
		if err != nil {
			return err
		}
		if err := ag.sources.Replace(source.KindFile, path, source.ByFlags, time.Now()); err != nil {
			return err
		}
	}
	last := ag.sources.LastGood()
	if last == nil {
		return nil
	}
	origin := reconcile.Origin{Kind: last.Kind, Path: last.Path}
	_, err := ag.loop.Submit(ctx, reconcile.SpecUpdate{
		Text: []byte(last.Text), Origin: origin,
		Restored: &reconcile.Revision{Number: last.Number, Digest: last.Digest, Origin: origin, Time: last.Time},
	})
	return err
}

// follow reads the recorded file whenever it changes; after a change of source
// it starts anew.
func (ag *agent) follow(ctx context.Context) error {
	for ctx.Err() == nil {
		present := ag.sources.Present()
		if present.Kind != source.KindFile {
			select {
			case <-ctx.Done():
			case <-ag.sources.Changed():
			}
			continue
		}
		one, stop := context.WithCancel(ctx)
		var done errgroup.Group
		done.Go(func() error {
			source.Follow(one, present.Path, ag.log, func(r source.Reading) { ag.submit(one, r) })
			return nil
		})
		select {
		case <-ctx.Done():
		case <-ag.sources.Changed():
		}
		stop()
		_ = done.Wait()
	}
	return nil
}

func (ag *agent) submit(ctx context.Context, r source.Reading) {
	u := reconcile.SpecUpdate{Text: r.Text, Err: r.Err, Origin: reconcile.Origin{Kind: source.KindFile, Path: r.Path}}
	if _, err := ag.loop.Submit(ctx, u); err != nil && ctx.Err() == nil {
		ag.log.Error("spec not handed over", "error", err)
	}
}

// revisions lets the loop store what it accepts.
type revisions struct{ m *source.Manager }

func (r revisions) Accept(rev reconcile.Revision, text []byte) (int64, error) {
	return r.m.Accept(source.Revision{Digest: rev.Digest, Kind: rev.Origin.Kind, Path: rev.Origin.Path, Time: rev.Time, Text: string(text)})
}

// notifySystemd says that the agent is ready, keeps its watchdog quiet and says
// that it stops. Outside systemd it does nothing.
func notifySystemd(ctx context.Context) error {
	_, _ = daemon.SdNotify(false, daemon.SdNotifyReady)
	defer func() { _, _ = daemon.SdNotify(false, daemon.SdNotifyStopping) }()
	every, err := daemon.SdWatchdogEnabled(false)
	if err != nil || every == 0 {
		<-ctx.Done()
		return nil //nolint:nilerr // a watchdog that can't be read is none
	}
	t := time.NewTicker(every / 2)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			_, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog)
		}
	}
}
