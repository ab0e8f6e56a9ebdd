// Package nettest makes small internets of network namespaces for tests, so that
// neither the machine's links and rules are touched nor a packet leaves it.
package nettest

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/aside"
)

// NS is a network namespace.
type NS struct{ File *os.File }

// New makes a namespace with a loopback device. It skips the test where the user
// can't.
func New(t testing.TB) NS {
	t.Helper()
	var n NS
	err := aside.Do(func() (err error) {
		if err = unix.Unshare(unix.CLONE_NEWNET); err == nil {
			n.File, err = os.Open("/proc/thread-self/ns/net")
		}
		return err
	})
	if errors.Is(err, unix.EPERM) {
		t.Skip("only root can make network namespaces")
	}
	if err != nil {
		t.Fatalf("cannot make a network namespace: %v", err)
	}
	t.Cleanup(func() { _ = n.File.Close() })
	n.Must(t, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		return netlink.LinkSetUp(lo)
	})
	return n
}

// Do runs do on a thread of the namespace.
func (n NS) Do(do func() error) error { return aside.InNetwork(n.File, do) }

// Must is Do, of which the test can't do without.
func (n NS) Must(t testing.TB, do func() error) {
	t.Helper()
	if err := n.Do(do); err != nil {
		t.Fatal(err)
	}
}

// Address gives a link of the namespace an address.
func (n NS) Address(t testing.TB, link, prefix string) {
	t.Helper()
	n.Must(t, func() error {
		l, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		addr, err := netlink.ParseAddr(prefix)
		if err != nil {
			return err
		}
		addr.Flags = unix.IFA_F_NODAD // an address that is being tried out can't be used yet
		if err := netlink.AddrAdd(l, addr); err != nil {
			return fmt.Errorf("cannot add %s to %s: %w", prefix, link, err)
		}
		return netlink.LinkSetUp(l)
	})
}

// Route adds a route by a link; dst "" is the default.
func (n NS) Route(t testing.TB, link, dst, via string) {
	t.Helper()
	n.Must(t, func() error {
		l, err := netlink.LinkByName(link)
		if err != nil {
			return err
		}
		r := &netlink.Route{LinkIndex: l.Attrs().Index}
		if via != "" {
			r.Gw = net.ParseIP(via)
		}
		if dst != "" {
			if r.Dst, err = netlink.ParseIPNet(dst); err != nil {
				return err
			}
		}
		return netlink.RouteAdd(r)
	})
}

// Join adds a veth pair between two namespaces.
func Join(t testing.TB, a NS, aLink string, b NS, bLink string, mtu int) {
	t.Helper()
	a.Must(t, func() error {
		attrs := netlink.NewLinkAttrs()
		attrs.Name, attrs.MTU = aLink, mtu
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: bLink, PeerNamespace: netlink.NsFd(b.File.Fd()), PeerMTU: uint32(mtu)})
	})
}

// Dial connects by TCP out of the namespace.
func (n NS) Dial(addr string, patience time.Duration) (net.Conn, error) {
	var c net.Conn
	err := n.Do(func() (err error) {
		c, err = net.DialTimeout("tcp", addr, patience)
		return err
	})
	return c, err
}

// Listen answers each TCP connection to addr in the namespace with the address of
// its peer, until the end of the test.
func (n NS) Listen(t testing.TB, addr string) {
	t.Helper()
	n.Must(t, func() error {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = fmt.Fprint(c, netip.MustParseAddrPort(c.RemoteAddr().String()).Addr())
				_ = c.Close()
			}
		}()
		return nil
	})
}

// Ask connects to what Listen serves and returns its answer.
func (n NS) Ask(addr string) (string, error) {
	c, err := n.Dial(addr, patience)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.Close() }()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 64)
	k, err := c.Read(buf)
	return string(buf[:k]), err
}

// patience is for packets that are refused without a word, too: none of them takes
// another way.
const patience = 3 * time.Second
