package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"agentctl/clearml"
	"agentctl/control"
	"agentctl/envcache"
	"agentctl/envcache/repo"
	"agentctl/internal/fsx"
	"agentctl/reconcile"
	"agentctl/runtime"
	"agentctl/runtime/gpu"
	"agentctl/runtime/shimbin"
	"agentctl/spec"
	"agentctl/worker"
)

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
	if ag.labels, err = spec.ParseLabels(ag.flags.labels); err != nil {
		return &usageError{err}
	}
	// Others pass through to their environments; nobody lists it.
	if err = os.MkdirAll(ag.state, 0o711); err != nil {
		return fmt.Errorf("cannot create the state folder: %w", err)
	}
	if err = ag.takeLock(ctx); err != nil {
		return err
	}
	if ag.variables, err = variablesOfAgent(os.Environ(), ag.state, log); err != nil {
		return err
	}
	if err = ag.openSources(); err != nil {
		return err
	}
	if ag.envs, err = envcache.Open(ag.state, envcache.Options{Log: log}); err != nil {
		return err
	}
	repos, err := repo.Open(ag.state, repoOptions(log))
	if err != nil {
		return err
	}
	shim, err := shimbin.Extract(ag.state)
	if err != nil {
		return err
	}
	host, err := runtime.Probe(ctx, shim, ag.state, log)
	if err == nil {
		host, err = host.Only(ag.flags.containment, ag.flags.mountNS, ag.flags.layers)
	}
	if err != nil {
		return err
	}
	if ag.socket, err = control.Listen(ag.app.socket); err != nil {
		return err
	}
	ag.servers = &servers{app: ag.app, listen: ag.flags.serverListen, log: log, count: ag.countAPI}
	ag.gpus = gpu.NewWatcher(gpu.Options{CDI: ag.flags.cdi, Log: log})
	ag.images = &images{state: ag.state, log: log, shifted: !host.MapsOwners()}
	ag.pool = worker.NewPool(worker.Config{
		State: ag.state, Connect: ag.servers.connect, Log: log, Environ: os.LookupEnv,
		Launcher: runtime.NewLauncher(shim, host, log), Host: host,
		Envs: ag.envs, Repos: repos, Images: ag.images, Hide: ag.hidden(), Once: ag.flags.once,
		GPUs: func() []reconcile.GPU { return worker.GPUsOf(ag.gpus.State()) }, GPUState: ag.gpus.State,
		GPUStats: func(slots []string, stats *clearml.MachineStats) { worker.GPUFigures(ag.gpus.State(), slots, stats) },
	})
	ag.loop = reconcile.NewLoop(reconcile.Config{
		Name: ag.name, Labels: ag.labels, Called: ag.variables.layer.NodeName, Runner: ag.pool, Store: specStore{ag.sources}, LastGood: lastGood(ag.sources),
		Suspended: ag.suspension(ag.sources.Current().Suspended), Log: log,
	})
	ag.metrics = control.NewMetrics(version, ag.loop)
	ag.metrics.CountGPUs(ag.listGPUs)
	return nil
}

// lastOneOut is how long one that is ending, or does not answer yet, may hold the lock: less
// than whoever started this one waits.
const lastOneOut = 45 * time.Second

// takeLock makes this the one agent of the state folder. One that no longer
// answers is on its way out, and is waited for.
func (ag *agent) takeLock(ctx context.Context) (err error) {
	path := filepath.Join(ag.state, "agent.lock")
	c := ag.client()
	defer c.Close()
	for deadline := time.Now().Add(lastOneOut); ; {
		if ag.lock, err = fsx.TryLock(path); !errors.Is(err, fsx.ErrLocked) {
			return err
		}
		if _, serr := c.Agent(ctx); serr == nil || time.Now().After(deadline) {
			return fmt.Errorf("an agent is already running with the state folder %s", ag.state)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// hidden are the folders that no task sees besides the state: that of the control socket,
// and what a pod has from its machine.
func (ag *agent) hidden() []string {
	if ag.mount.pod == "" {
		return ag.socketFolder()
	}
	return append(ag.socketFolder(), ag.mount.pod)
}

// socketFolder is the folder of the control socket, to be hidden from tasks that
// run as the agent's own user and could open it. A folder that is not the socket's
// alone (--socket /tmp/x.sock) is left: tasks may need the rest of it.
func (ag *agent) socketFolder() []string {
	dir := filepath.Dir(ag.app.socket)
	rel, err := filepath.Rel(ag.state, dir)
	if filepath.Base(dir) != "agentctl" || err == nil && filepath.IsLocal(rel) {
		return nil // the latter is hidden with the state folder
	}
	return []string{dir}
}

func (ag *agent) close() {
	if ag.envs != nil {
		if err := ag.envs.Close(); err != nil {
			ag.log.Warn("cannot close the environments in order; they are checked after the next start of this machine", "error", err)
		}
	}
	if ag.images != nil {
		if err := ag.images.close(); err != nil {
			ag.log.Warn("cannot close the images in order", "error", err)
		}
	}
	if ag.socket != nil {
		_ = ag.socket.Close()
	}
	if ag.variables != nil {
		if err := ag.variables.close(); err != nil {
			ag.log.Warn("cannot forget the secrets of variables", "error", err)
		}
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

func (ag *agent) host() spec.Host {
	return spec.Host{Name: ag.name, Labels: ag.labels, Called: ag.variables.layer.NodeName}
}

// countAPI counts requests to ClearML servers. The metrics are made after what
// sends them.
func (ag *agent) countAPI(next http.RoundTripper) http.RoundTripper {
	return ag.metrics.Transport(next)
}
