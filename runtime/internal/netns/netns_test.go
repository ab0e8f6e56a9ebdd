package netns

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"

	"agentctl/runtime/internal/aside"
	"agentctl/runtime/internal/nettest"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == crashing {
		os.Exit(crashMain(os.Args[2:]))
	}
	goleak.VerifyTestMain(m)
}

// pool chooses a pool on the host of an Internet.
func pool(t testing.TB, host nettest.NS, owner string) Pool {
	t.Helper()
	p := Pool{Tag: Tag(owner), Lock: filepath.Join(t.TempDir(), "lock")}
	host.Must(t, func() (err error) {
		p, err = Choose(context.Background(), p)
		return err
	})
	return p
}

func connected(t testing.TB, host nettest.NS, p Pool, id string, ns nettest.NS) Network {
	t.Helper()
	var n Network
	host.Must(t, func() (err error) {
		n, err = Connect(context.Background(), p, id, ns.File)
		return err
	})
	return n
}

// names lists the links of a namespace.
func names(t testing.TB, ns nettest.NS) []string {
	t.Helper()
	var found []string
	ns.Must(t, func() error {
		all, err := netlink.LinkList()
		for _, l := range all {
			found = append(found, l.Attrs().Name)
		}
		return err
	})
	slices.Sort(found)
	return found
}

func TestConnect(t *testing.T) {
	site := nettest.NewInternet(t)
	p := pool(t, site.Host, "here")
	if p.MTU != nettest.InternetMTU {
		t.Errorf("MTU %d is not that of the way out", p.MTU)
	}
	box := nettest.New(t)
	n := connected(t, site.Host, p, "task-1", box)
	site.Host.Listen(t, n.Gateway.String()+":80")
	if got, err := box.Ask(n.Gateway.String() + ":80"); err != nil || got != n.Address.String() {
		t.Errorf("the host saw %q, %v; want %s", got, err, n.Address)
	}
	box.Listen(t, n.Address.String()+":80")
	if got, err := site.Host.Ask(n.Address.String() + ":80"); err != nil || got != n.Gateway.String() {
		t.Errorf("the sandbox saw %q, %v; want %s", got, err, n.Gateway)
	}
	box.Must(t, func() error { return whatIsInside(t, n) })
	if again := pool(t, site.Host, "here"); again.Range != p.Range {
		t.Errorf("the range changed from %s to %s", p.Range, again.Range)
	}
}

// A link drops what it is given before it carries packets, and TCP tries again only
// after a second.
func TestFirstPacketsAreNotDropped(t *testing.T) {
	host := nettest.NewInternet(t).Host
	p := pool(t, host, "here")
	host.Listen(t, ":80")
	for i := range 30 {
		box := nettest.New(t)
		n := connected(t, host, p, "task-"+strconv.Itoa(i), box)
		if _, err := box.Ask(n.Gateway.String() + ":80"); err != nil {
			t.Error(err)
		}
		for name, ns := range map[string]nettest.NS{n.Link: host, "eth0": box} {
			ns.Must(t, func() error {
				l, err := netlink.LinkByName(name)
				if err == nil && l.Attrs().Statistics.TxDropped > 0 {
					t.Errorf("connection %d: %s dropped packets", i, name)
				}
				return err
			})
		}
	}
}

func whatIsInside(t *testing.T, n Network) error {
	t.Helper()
	l, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	if l.Attrs().MTU != nettest.InternetMTU {
		t.Errorf("MTU inside: %d", l.Attrs().MTU)
	}
	addrs, err := netlink.AddrList(l, netlink.FAMILY_ALL)
	if len(addrs) != 1 || !addrs[0].IP.Equal(n.Address.AsSlice()) {
		t.Errorf("addresses inside: %v", addrs)
	}
	for _, file := range []string{"ipv6/conf/eth0/disable_ipv6=1", "ipv6/conf/lo/disable_ipv6=0", "ipv4/ip_unprivileged_port_start=0"} {
		name, want, _ := strings.Cut(file, "=")
		got, rerr := os.ReadFile("/proc/sys/net/" + name)
		if strings.TrimSpace(string(got)) != want {
			t.Errorf("%s is %q, %v", name, got, rerr)
		}
	}
	return err
}

// Nothing of the host's end is IPv6: a service that listens on all addresses would
// be had by a link-local one.
func TestHostEndHasNoIPv6(t *testing.T) {
	site := nettest.NewInternet(t)
	n := connected(t, site.Host, pool(t, site.Host, "here"), "task", nettest.New(t))
	site.Host.Must(t, func() error {
		l, err := netlink.LinkByName(n.Link)
		if err != nil {
			return err
		}
		addrs, err := netlink.AddrList(l, netlink.FAMILY_V6)
		if len(addrs) != 0 {
			t.Errorf("it has %v", addrs)
		}
		return err
	})
}

// What another agent made, and what bears our name but not our mark, stays.
func TestSweepRemovesOursOnly(t *testing.T) {
	ctx := context.Background()
	site := nettest.NewInternet(t)
	ours, theirs := pool(t, site.Host, "here"), pool(t, site.Host, "there")
	var boxes []nettest.NS
	for range 4 {
		boxes = append(boxes, nettest.New(t))
	}
	alive := connected(t, site.Host, ours, "alive", boxes[0])
	dead := connected(t, site.Host, ours, "dead", boxes[1])
	other := connected(t, site.Host, theirs, "dead", boxes[2])
	stranger := LinkPrefix(ours.Tag) + "9999"
	nettest.Join(t, site.Host, stranger, boxes[3], "x", 1500)
	site.Host.Must(t, func() error {
		l, err := netlink.LinkByName(stranger)
		if err != nil {
			return err
		}
		return netlink.LinkSetAlias(l, "somebody else's")
	})
	site.Host.Must(t, func() error {
		removed, err := Sweep(ctx, ours, func(id string) bool { return id == "alive" })
		if !slices.Equal(removed, []string{"dead"}) {
			t.Errorf("removed %v", removed)
		}
		return err
	})
	if got := names(t, site.Host); slices.Contains(got, dead.Link) || !slices.Contains(got, alive.Link) || !slices.Contains(got, other.Link) || !slices.Contains(got, stranger) {
		t.Errorf("left are %v", got)
	}
	site.Host.Must(t, func() error { return Remove(ctx, theirs, "dead") })
	site.Host.Must(t, func() error { return Remove(ctx, theirs, "dead") })
	if got := names(t, site.Host); slices.Contains(got, other.Link) || !slices.Contains(got, alive.Link) {
		t.Errorf("left are %v", got)
	}
	if got := names(t, boxes[2]); slices.Contains(got, "eth0") {
		t.Errorf("the other end is left: %v", got)
	}
}

// A sandbox that is connected again, after a shim that died half-way, has one link.
func TestConnectAgain(t *testing.T) {
	site := nettest.NewInternet(t)
	p, box := pool(t, site.Host, "here"), nettest.New(t)
	connected(t, site.Host, p, "task", box)
	n := connected(t, site.Host, p, "task", box)
	if got := names(t, site.Host); !slices.Equal(got, []string{n.Link, "lo", "uplink"}) {
		t.Errorf("on the host are %v", got)
	}
}

// The kernel takes the pair down when nobody holds the sandbox's namespace.
func TestNetworkGoesWithItsNamespace(t *testing.T) {
	site := nettest.NewInternet(t)
	box := nettest.New(t)
	n := connected(t, site.Host, pool(t, site.Host, "here"), "task", box)
	if err := box.File.Close(); err != nil {
		t.Fatal(err)
	}
	for slices.Contains(names(t, site.Host), n.Link) {
	}
}

func TestConnectRefuses(t *testing.T) {
	site := nettest.NewInternet(t)
	good, box := pool(t, site.Host, "here"), nettest.New(t)
	for name, tt := range map[string]struct {
		pool Pool
		id   string
	}{
		"no id":      {good, ""},
		"id":         {good, "a b"},
		"long id":    {good, strings.Repeat("a", 129)},
		"tag":        {Pool{Tag: "*", Range: good.Range, Lock: good.Lock}, "a"},
		"no range":   {Pool{Tag: good.Tag, Lock: good.Lock}, "a"},
		"IPv6 range": {Pool{Tag: good.Tag, Lock: good.Lock, Range: netip.MustParsePrefix("fd00::/20")}, "a"},
	} {
		err := site.Host.Do(func() error {
			_, err := Connect(context.Background(), tt.pool, tt.id, box.File)
			return err
		})
		if err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if got := names(t, site.Host); !slices.Equal(got, []string{"lo", "uplink"}) {
		t.Errorf("on the host are %v", got)
	}
}

func TestFull(t *testing.T) {
	site := nettest.NewInternet(t)
	p := pool(t, site.Host, "here")
	p.Range = netip.PrefixFrom(p.Range.Addr(), 30)
	seen := map[netip.Addr]bool{}
	for i := range 2 {
		n := connected(t, site.Host, p, "task-"+strconv.Itoa(i), nettest.New(t))
		if seen[n.Address] || seen[n.Gateway] {
			t.Errorf("%v is in use", n)
		}
		seen[n.Address], seen[n.Gateway] = true, true
	}
	err := site.Host.Do(func() error {
		_, err := Connect(context.Background(), p, "task-2", nettest.New(t).File)
		return err
	})
	if !errors.Is(err, ErrFull) {
		t.Errorf("a third: %v", err)
	}
}

// A task that knows its server by address finds it at its own loopback device.
func TestLoopbackAddresses(t *testing.T) {
	box := nettest.New(t)
	addrs := []netip.Addr{netip.MustParseAddr("192.0.2.77"), netip.MustParseAddr("2001:db8::77"), netip.MustParseAddr("127.0.0.3")}
	for range 2 { // what is there already is no fault
		if err := aside.InNetwork(box.File, func() error { return Loopback(addrs...) }); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range addrs {
		addr := netip.AddrPortFrom(a, 443).String()
		box.Listen(t, addr)
		if _, err := box.Ask(addr); err != nil {
			t.Error(err)
		}
	}
}
