package firewall

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"agentctl/runtime/internal/nettest"
)

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
