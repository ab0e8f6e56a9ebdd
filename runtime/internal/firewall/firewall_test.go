package firewall

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/netns"
	"agentctl/runtime/internal/nettest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a host with sandboxes.
type site struct {
	nettest.Internet
	pool  netns.Pool
	boxes []nettest.NS
	nets  []netns.Network
}

// newSite makes an Internet with sandboxes of one agent in it, under a policy that
// change may change.
func newSite(t *testing.T, boxes int, change func(*Policy)) *site {
	t.Helper()
	s := &site{Internet: nettest.NewInternet(t)}
	s.pool = netns.Pool{Tag: netns.Tag(t.Name()), Lock: filepath.Join(t.TempDir(), "lock")}
	s.Host.Must(t, func() (err error) {
		s.pool, err = netns.Choose(context.Background(), s.pool)
		return err
	})
	s.ensure(t, s.policy(change))
	for i := range boxes {
		box := nettest.New(t)
		s.Host.Must(t, func() error {
			n, err := netns.Connect(context.Background(), s.pool, fmt.Sprint("task-", i), box.File)
			s.boxes, s.nets = append(s.boxes, box), append(s.nets, n)
			return err
		})
	}
	return s
}

func (s *site) policy(change func(*Policy)) Policy {
	p := Policy{Tag: s.pool.Tag, Links: netns.LinkPrefix(s.pool.Tag), Range: s.pool.Range}
	if change != nil {
		change(&p)
	}
	return p
}

func (s *site) ensure(t *testing.T, p Policy) {
	t.Helper()
	s.Host.Must(t, func() error {
		if _, err := Forward(); err != nil {
			return err
		}
		return Ensure(p)
	})
}

// asks tells what a connection from a namespace comes to: the answer, "refused", or
// the error.
func asks(ns nettest.NS, addr string, port int) string {
	got, err := ns.Ask(net.JoinHostPort(addr, fmt.Sprint(port)))
	if errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.ENETUNREACH) {
		return "refused"
	}
	if err != nil {
		return err.Error()
	}
	return got
}

func TestPrivateNetwork(t *testing.T) {
	const open, closed = 8081, 80
	s := newSite(t, 2, func(p *Policy) {
		p.Ports = []uint16{open}
		p.Resolvers = []netip.Addr{netip.MustParseAddr(nettest.CloudAddr), netip.MustParseAddr(nettest.HostAddr), netip.MustParseAddr("203.0.113.2"), netip.MustParseAddr("::1")}
	})
	box, other := s.boxes[0], s.boxes[1]
	box.Listen(t, fmt.Sprintf(":%d", closed))
	for _, port := range []int{open, closed, 53} {
		s.World.Listen(t, fmt.Sprintf(":%d", port))
		s.Host.Listen(t, fmt.Sprintf(":%d", port))
		other.Listen(t, fmt.Sprintf(":%d", port))
	}
	for _, tt := range []struct {
		what, addr string
		port       int
		want       string
	}{
		{"outside, with the host's address", nettest.FarAddr, closed, nettest.HostAddr},
		{"near, with the host's address", nettest.NearAddr, closed, nettest.HostAddr},
		{"another sandbox", s.nets[1].Address.String(), closed, "refused"},
		{"the host's service by the gateway", s.nets[0].Gateway.String(), closed, "refused"},
		{"the host's service by its address", nettest.HostAddr, closed, "refused"},
		{"the host's service by another's gateway", s.nets[1].Gateway.String(), closed, "refused"},
		{"a service that is allowed", s.nets[0].Gateway.String(), open, s.nets[0].Address.String()},
		{"the host as a name server", nettest.HostAddr, 53, s.nets[0].Address.String()},
		{"the gateway, no name server", s.nets[0].Gateway.String(), 53, "refused"},
		{"metadata", nettest.CloudAddr, closed, "refused"},
		{"metadata of Azure", nettest.WireAddr, closed, "refused"},
		{"a name server at the metadata address", nettest.CloudAddr, 53, nettest.HostAddr},
		{"no name server", nettest.WireAddr, 53, "refused"},
		{"IPv6", nettest.FarAddr6, closed, "refused"},
	} {
		if got := asks(box, tt.addr, tt.port); got != tt.want {
			t.Errorf("%s: %s; want %s", tt.what, got, tt.want)
		}
	}
	if got := asks(s.Host, s.nets[0].Address.String(), closed); got != s.nets[0].Gateway.String() {
		t.Errorf("the host at a sandbox: %s", got)
	}
	s.ensure(t, s.policy(func(p *Policy) { p.Metadata = true }))
	if got := asks(box, nettest.CloudAddr, closed); got != nettest.HostAddr {
		t.Errorf("metadata, allowed: %s", got)
	}
}

// Sandboxes of two agents of a host don't see each other either.
func TestTwoAgents(t *testing.T) {
	s := newSite(t, 1, nil)
	second := &site{Internet: s.Internet, pool: netns.Pool{Tag: "zzzzz", Lock: s.pool.Lock}}
	box := nettest.New(t)
	s.Host.Must(t, func() (err error) {
		if second.pool, err = netns.Choose(context.Background(), second.pool); err != nil {
			return err
		}
		n, err := netns.Connect(context.Background(), second.pool, "task-0", box.File)
		second.nets = []netns.Network{n}
		return err
	})
	second.ensure(t, second.policy(nil))
	s.World.Listen(t, ":80")
	box.Listen(t, ":80")
	s.boxes[0].Listen(t, ":80")
	for _, way := range []struct {
		from nettest.NS
		to   string
	}{{box, s.nets[0].Address.String()}, {s.boxes[0], second.nets[0].Address.String()}} {
		if got := asks(way.from, way.to, 80); got != "refused" {
			t.Errorf("%s: %s", way.to, got)
		}
		if got := asks(way.from, nettest.FarAddr, 80); got != nettest.HostAddr {
			t.Errorf("outside: %s", got)
		}
	}
}
