package worker

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"agentctl/internal/fsx"
	"agentctl/runtime"
	"agentctl/runtime/dockerargs"
	"agentctl/spec"

	"github.com/samber/lo"
)

// networks is what the agent has told of the networks of sandboxes, and whether one
// of them was ever private: the host's rules then stay for those that run.
type networks struct {
	mu      sync.Mutex
	private bool
	told    []string
}

// ready readies the host for a sandbox with a network of the kind mode.
func (n *networks) ready(ctx context.Context, state string, ids runtime.IDRange, mode string, s spec.Sandbox) (ready runtime.Networks, fresh []string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	private := n.private || mode == spec.NetworkPrivate
	ready, err = runtime.ReadyNetworks(ctx, runtime.NetworkPolicy{
		Owner: state, Private: private, Users: ids, Metadata: s.Metadata,
		Ports: lo.Map(s.HostPorts, func(port, _ int) uint16 { return uint16(port) }), //nolint:gosec // 1 to 65535
	})
	if err == nil { // else the next one, that needs none, would fail as well
		n.private = private
	}
	for _, note := range ready.Notes {
		if !slices.Contains(n.told, note) {
			n.told, fresh = append(n.told, note), append(fresh, note)
		}
	}
	return ready, fresh, err
}

// network gives the sandbox its network, and its files in /etc. Without the host's
// network the task reaches the servers of the URLs by the shim.
func (s site) network(ctx context.Context, box *runtime.Sandbox, c dockerargs.Settings, urls ...string) error {
	mode := box.Network.Mode
	ready, notes, err := s.pool.nets.ready(ctx, s.pool.cfg.State, box.IDs, mode, s.worker.Sandbox)
	for _, note := range notes {
		s.log.Warn("networks of sandboxes", "note", note)
	}
	switch {
	case err != nil && mode == spec.NetworkHost:
		s.say("WARNING: the task can reach the metadata addresses of this machine: %v", err)
	case err != nil:
		return err
	}
	box.Network.Pool = ready.Pool
	if mode != spec.NetworkPrivate {
		box.Network.Pool = nil
	}
	c.Network = mode
	hosts := hostsFile(readText("/etc/hosts"), box.Hostname, c)
	resolv := resolvConf(readText("/etc/resolv.conf"), c)
	if mode == spec.NetworkPrivate && len(c.DNS) == 0 && ready.ResolvConf != nil {
		resolv = string(ready.ResolvConf)
	}
	if mode != spec.NetworkHost && len(urls) > 0 {
		if box.Network.Servers, err = runtime.PlanServers(urls...); err != nil {
			return err
		}
		hosts = box.Network.Servers.HostsLines() + hosts
	}
	box.Hosts, box.ResolvConf = filepath.Join(s.dirs.root, "hosts"), filepath.Join(s.dirs.root, "resolv.conf")
	for file, text := range map[string]string{box.Hosts: hosts, box.ResolvConf: resolv} {
		if err := fsx.ReplaceFile(file, []byte(text), 0o644); err != nil {
			return fmt.Errorf("cannot write a file of the sandbox: %w", err)
		}
	}
	return nil
}

// servers are the URLs that a task has to reach.
func (e Endpoints) servers() []string {
	return slices.DeleteFunc([]string{e.API, e.Files, e.Web}, func(u string) bool { return strings.TrimSpace(u) == "" })
}
