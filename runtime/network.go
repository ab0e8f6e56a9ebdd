package runtime

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"agentctl/runtime/internal/contain"
	"agentctl/runtime/internal/firewall"
	"agentctl/runtime/internal/landlock"
	"agentctl/runtime/internal/netns"
	"agentctl/runtime/internal/relay"
)

// networkLock is one for all agents of the host.
const networkLock = "/run/agentctl-network.lock"

// NetworkPolicy is what holds for the networks of all sandboxes of an agent.
type NetworkPolicy struct {
	// Owner tells agents of one host apart: the state folder.
	Owner string
	// Private tells that there are private networks.
	Private bool
	// Users are those of tasks in the host's network; the zero range means that
	// there are none.
	Users IDRange
	// Metadata lets tasks reach link-local addresses and those at which clouds hand
	// out the machine's own credentials.
	Metadata bool
	// Resolvers are name servers of tasks besides the host's own.
	Resolvers []netip.Addr
	// Ports are of services of the host, by TCP, that private networks may reach.
	Ports []uint16
	// Lock is a file that all agents of the host share; "" is the usual one.
	Lock string
}

// Networks is what ReadyNetworks made ready.
type Networks struct {
	// Pool is for the private networks of new sandboxes; nil without.
	Pool *Pool
	// ResolvConf is what their resolv.conf must have, nil if the host has no name
	// server that they reach.
	ResolvConf []byte
	// Notes tell what an administrator should know.
	Notes []string
}

// ReadyNetworks makes the host's packet filter and forwarding such as the policy
// wants, for sandboxes that run as well as for new ones. It is cheap when they are,
// and is to be called before each sandbox: others could have changed them.
func ReadyNetworks(ctx context.Context, p NetworkPolicy) (Networks, error) {
	n, err := p.ready(ctx)
	if err != nil {
		return Networks{}, fmt.Errorf("cannot ready the host for the networks of sandboxes: %w", err)
	}
	return n, nil
}

func (p NetworkPolicy) ready(ctx context.Context) (n Networks, err error) {
	f := firewall.Policy{
		Tag: netns.Tag(p.Owner), Links: netns.LinkPrefix(netns.Tag(p.Owner)),
		UID: uint32(p.Users.Base), UIDs: uint32(p.Users.Size), Metadata: p.Metadata,
		Resolvers: append(netns.Servers(), p.Resolvers...), Ports: p.Ports,
	}
	if os.Geteuid() != 0 {
		if p.Private {
			return n, netns.Available()
		}
		if !p.Metadata && p.Users.Size > 0 {
			n.Notes = append(n.Notes, "tasks in the network host reach metadata addresses: only an agent that is root can keep them off")
		}
		return n, nil
	}
	if p.Private {
		if n, err = p.private(ctx); err != nil {
			return n, err
		}
		f.Range = n.Pool.Range
	}
	if err := firewall.Ensure(f); err != nil {
		return n, err
	}
	return n, nil
}

// private readies what only private networks need.
func (p NetworkPolicy) private(ctx context.Context) (n Networks, err error) {
	pool, err := netns.Choose(ctx, p.pool())
	if err != nil {
		return n, err
	}
	n.Pool = &pool
	changed, err := firewall.Forward()
	if err != nil {
		return n, err
	}
	if changed {
		n.Notes = append(n.Notes, "the host forwards packets from now on, for private networks: net.ipv4.ip_forward was 0")
	}
	walls, err := firewall.Obstacles(pool.Tag)
	if err != nil {
		return n, err
	}
	if len(walls) > 0 {
		n.Notes = append(n.Notes, fmt.Sprintf(
			"private networks may have no way out: the host's own packet filter drops what it forwards (%s); accept the links %s* there",
			strings.Join(walls, ", "), netns.LinkPrefix(pool.Tag)))
	}
	conf, servers, err := netns.Resolvers()
	if errors.Is(err, netns.ErrNoResolver) {
		n.Notes = append(n.Notes, err.Error()+"; name one for sandboxes")
		err = nil
	}
	if len(servers) > 0 {
		n.ResolvConf = conf
	}
	return n, err
}

func (p NetworkPolicy) pool() Pool {
	lock := p.Lock
	if lock == "" {
		lock = networkLock
	}
	return Pool{Tag: netns.Tag(p.Owner), Lock: lock}
}

// SweepLostNetworks takes down the private networks of the agent's sandboxes of which no
// process lives, and says how many: what is left where the record of a task was lost
// with its shim.
func SweepLostNetworks(ctx context.Context, p NetworkPolicy) (int, error) {
	return SweepNetworks(ctx, p, func(nonce string) bool {
		pids, err := contain.Marked(nonce, 0)
		return err != nil || len(pids) > 0
	})
}

// SweepNetworks takes down the private networks of the agent's sandboxes that don't
// live, by the nonces of their runs, and says how many.
func SweepNetworks(ctx context.Context, p NetworkPolicy, live func(nonce string) bool) (int, error) {
	if os.Geteuid() != 0 {
		return 0, nil
	}
	removed, err := netns.Sweep(ctx, p.pool(), live)
	return len(removed), err
}

// AbstractSockets tells why sandboxes in the network of the host reach abstract unix
// sockets of the host; nil if they don't.
func AbstractSockets() error { return landlock.Available() }

// PrivateNetworks tells why there are no private networks on this host; nil if
// there are.
func PrivateNetworks() error { return netns.Available() }

// PlanServers plans how a task without the host's network reaches the servers of
// its URLs. Its /etc/hosts must have the plan's HostsLines.
func PlanServers(urls ...string) (*Servers, error) {
	p, err := relay.New(urls...)
	if err != nil {
		return nil, err
	}
	return &p, nil
}
