package firewall

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
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
	if errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.EACCES) || errors.Is(err, unix.ENETUNREACH) {
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

// Nothing comes in from outside that was not asked for, also where others route the
// sandboxes' addresses to the host.
func TestNothingComesIn(t *testing.T) {
	s := newSite(t, 1, nil)
	s.boxes[0].Listen(t, ":80")
	s.World.Route(t, "down", s.pool.Range.String(), nettest.HostAddr)
	got := datagrams(t, s.boxes[0], s.nets[0].Address.String())
	send(t, s.World, nettest.NearAddr, s.nets[0].Address.String(), "unasked")
	send(t, s.Host, s.nets[0].Gateway.String(), s.nets[0].Address.String(), "asked")
	if first := got(); first != "asked from "+s.nets[0].Gateway.String() {
		t.Errorf("in came: %s", first)
	}
}

// A task that may change its addresses, by CAP_NET_ADMIN, is heard with its own only.
func TestOwnAddressOnly(t *testing.T) {
	s := newSite(t, 2, nil)
	false1, false2 := s.nets[1].Address.String(), "198.51.100.99"
	s.boxes[0].Address(t, "eth0", false1+"/32")
	s.boxes[0].Address(t, "eth0", false2+"/32")
	for _, ns := range []struct {
		nettest.NS
		addr, seen string
	}{{s.World, nettest.FarAddr, nettest.HostAddr}, {s.Host, s.nets[0].Gateway.String(), s.nets[0].Address.String()}} {
		got := datagrams(t, ns.NS, ns.addr)
		if ns.NS == s.Host {
			s.ensure(t, s.policy(func(p *Policy) { p.Resolvers = []netip.Addr{s.nets[0].Gateway} }))
		}
		for _, from := range []string{false1, false2, s.nets[0].Address.String()} {
			send(t, s.boxes[0], from, ns.addr, "from "+from)
		}
		if first, want := got(), "from "+s.nets[0].Address.String()+" from "+ns.seen; first != want {
			t.Errorf("first came %q; want %q", first, want)
		}
	}
}

// A task that switches IPv6 on is not heard by it.
func TestNoIPv6(t *testing.T) {
	s := newSite(t, 1, func(p *Policy) { p.Resolvers = []netip.Addr{netip.MustParseAddr("2001:db8::1")} })
	s.boxes[0].Must(t, func() error {
		return os.WriteFile("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", []byte("0"), 0)
	})
	s.boxes[0].Address(t, "eth0", "2001:db8:2::1/64")
	s.boxes[0].Must(t, func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		host, err := s.mac(s.nets[0].Link)
		if err != nil {
			return err
		}
		// The host is not asked for its address, at which it would not answer.
		return netlink.NeighAdd(&netlink.Neigh{
			LinkIndex: l.Attrs().Index, State: netlink.NUD_PERMANENT, IP: net.ParseIP("2001:db8:2::2"), HardwareAddr: host,
		})
	})
	s.boxes[0].Route(t, "eth0", "::/0", "2001:db8:2::2")
	got := datagrams(t, s.Host, "2001:db8::1")
	send(t, s.boxes[0], "2001:db8:2::1", "2001:db8::1", "from inside")
	send(t, s.World, "2001:db8::2", "2001:db8::1", "from outside")
	if first := got(); first != "from outside from 2001:db8::2" {
		t.Errorf("first came %q", first)
	}
}

func (s *site) mac(link string) (net.HardwareAddr, error) {
	var mac net.HardwareAddr
	err := s.Host.Do(func() error {
		l, err := netlink.LinkByName(link)
		if err == nil {
			mac = l.Attrs().HardwareAddr
		}
		return err
	})
	return mac, err
}

// datagrams receives at port 53 of a namespace, one after the other.
func datagrams(t *testing.T, ns nettest.NS, addr string) func() string {
	t.Helper()
	var c net.PacketConn
	ns.Must(t, func() (err error) {
		c, err = net.ListenPacket("udp", net.JoinHostPort(addr, "53"))
		return err
	})
	t.Cleanup(func() { _ = c.Close() })
	return func() string {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		buf := make([]byte, 100)
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("%s from %s", buf[:n], netip.MustParseAddrPort(from.String()).Addr())
	}
}

func send(t *testing.T, ns nettest.NS, from, to, text string) {
	t.Helper()
	ns.Must(t, func() error {
		c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(from)}, &net.UDPAddr{IP: net.ParseIP(to), Port: 53})
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		_, err = c.Write([]byte(text))
		return err
	})
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

// In the host's network a task is known by its user.
func TestHostNetwork(t *testing.T) {
	const first, count = 200_000, 1000
	s := newSite(t, 0, func(p *Policy) {
		p.Range = netip.Prefix{}
		p.UID, p.UIDs = first, count
		p.Resolvers = []netip.Addr{netip.MustParseAddr(nettest.CloudAddr)}
	})
	for _, port := range []int{53, 80} {
		s.World.Listen(t, fmt.Sprintf(":%d", port))
	}
	for _, tt := range []struct {
		uid  int
		addr string
		port int
		want string
	}{
		{0, nettest.CloudAddr, 80, nettest.HostAddr},
		{first - 1, nettest.CloudAddr, 80, nettest.HostAddr},
		{first, nettest.CloudAddr, 80, "refused"},
		{first + count - 1, nettest.CloudAddr, 80, "refused"},
		{first + count, nettest.CloudAddr, 80, nettest.HostAddr},
		{first, nettest.WireAddr, 80, "refused"},
		{first, nettest.WireAddr, 53, "refused"},
		{first, nettest.CloudAddr, 53, nettest.HostAddr},
		{first, nettest.FarAddr, 80, nettest.HostAddr},
		{first, nettest.CloudAddr6, 80, "refused"},
		{0, nettest.CloudAddr6, 80, "2001:db8::1"},
		{first, nettest.FarAddr6, 80, "2001:db8::1"},
	} {
		if got := asksAs(s.Host, tt.uid, tt.addr, tt.port); got != tt.want {
			t.Errorf("user %d at %s, port %d: %s; want %s", tt.uid, tt.addr, tt.port, got, tt.want)
		}
	}
}

// asksAs is asks by a socket of another user.
func asksAs(ns nettest.NS, uid int, addr string, port int) string {
	var got string
	_ = ns.Do(func() error {
		// Of this thread alone, which ends here.
		_, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, uintptr(uid), 0, 0)
		c, err := net.DialTimeout("tcp", net.JoinHostPort(addr, fmt.Sprint(port)), 10*time.Second)
		if err != nil {
			got = err.Error()
			if errors.Is(err, unix.EHOSTUNREACH) || errors.Is(err, unix.EACCES) {
				got = "refused"
			}
			return err
		}
		defer func() { _ = c.Close() }()
		buf := make([]byte, 64)
		n, _ := c.Read(buf)
		got = string(buf[:n])
		return nil
	})
	return got
}

func TestCheck(t *testing.T) {
	good := Policy{Tag: "a", Links: "agca-", Range: netip.MustParsePrefix("10.213.0.0/20")}
	for name, bad := range map[string]func(*Policy){
		"tag":   func(p *Policy) { p.Tag = "A b" },
		"links": func(p *Policy) { p.Links = "" },
		"range": func(p *Policy) { p.Range = netip.MustParsePrefix("fd00::/8") },
		"users": func(p *Policy) { p.UID, p.UIDs = 1<<32-1, 2 },
	} {
		p := good
		bad(&p)
		if err := Ensure(p); err == nil || !strings.HasPrefix(err.Error(), "cannot set the packet filter of sandboxes: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// dump is what the kernel has of others' tables and of ours.
func dump(t *testing.T, ns nettest.NS) (lines []string) {
	t.Helper()
	ns.Must(t, func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		chains, err := c.ListChains()
		for _, ch := range chains {
			lines = append(lines, ch.Table.Name+" "+ch.Name)
			rules, rerr := c.GetRules(ch.Table, ch)
			err = errors.Join(err, rerr)
			for _, r := range rules {
				lines = append(lines, fmt.Sprint(ch.Table.Name, " ", ch.Name, " ", r.Handle, " ", len(r.Exprs)))
			}
		}
		return err
	})
	return lines
}

func TestEnsure(t *testing.T) {
	s := newSite(t, 0, nil)
	other := &nftables.Table{Name: "agentctl", Family: nftables.TableFamilyINet}
	s.Host.Must(t, func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		c.AddTable(other)
		deny := nftables.ChainPolicyDrop
		ch := c.AddChain(&nftables.Chain{
			Name: "FORWARD", Table: other, Type: nftables.ChainTypeFilter, Policy: &deny,
			Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
		})
		c.AddRule(&nftables.Rule{Table: other, Chain: ch, Exprs: from("x")})
		return c.Flush()
	})
	s.Host.Must(t, func() error {
		found, err := Obstacles(s.pool.Tag)
		if !slices.Equal(found, []string{"inet agentctl FORWARD"}) {
			t.Errorf("obstacles: %v", found)
		}
		return err
	})
	isOurs := func(line string) bool { return strings.HasPrefix(line, "agentctl_") }
	before := dump(t, s.Host)
	s.ensure(t, s.policy(nil))
	if after := dump(t, s.Host); !slices.Equal(before, after) {
		t.Errorf("what was there was made again:\n%s\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
	s.Host.Must(t, func() error { return flushOne(s.policy(nil)) })
	cut := dump(t, s.Host)
	s.ensure(t, s.policy(nil))
	if after := dump(t, s.Host); len(after) != len(before) || len(cut) >= len(before) {
		t.Errorf("a rule that somebody removed: %d, then %d of %d", len(cut), len(after), len(before))
	}
	s.ensure(t, s.policy(func(p *Policy) { p.Ports = []uint16{7} }))
	if after := dump(t, s.Host); len(after) != len(before)+1 {
		t.Errorf("another policy: %d rules, before %d", len(after), len(before))
	}
	theirs := slices.DeleteFunc(dump(t, s.Host), isOurs)
	for range 2 {
		s.ensure(t, s.policy(func(p *Policy) { p.Range = netip.Prefix{} }))
	}
	if after := dump(t, s.Host); !slices.Equal(after, theirs) || len(theirs) != 2 {
		t.Errorf("left are %v; of others %v", after, theirs)
	}
}

// flushOne removes the rules of a chain by hand.
func flushOne(p Policy) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	c.FlushChain(&nftables.Chain{Table: &nftables.Table{Name: p.table(), Family: nftables.TableFamilyINet}, Name: "input"})
	return c.Flush()
}

// Forwarding is switched on once, and said.
func TestForward(t *testing.T) {
	nettest.New(t).Must(t, func() error {
		for i, want := range []bool{true, false} {
			if changed, err := Forward(); err != nil || changed != want {
				t.Errorf("time %d: %v, %v", i, changed, err)
			}
		}
		_, err := netlink.LinkByName("lo")
		return err
	})
}
