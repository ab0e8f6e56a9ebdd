package netns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"agentctl/internal/crash"
	"agentctl/runtime/internal/aside"
)

// device is the name of the link inside.
const device = "eth0"

// Network is that of one sandbox.
type Network struct {
	Link    string     // the host's end
	Address netip.Addr // the sandbox's
	Gateway netip.Addr // the host's
}

// Connect gives the network namespace ns, in which nothing of the sandbox's runs
// yet, a way out. What stands for the same id is taken down first.
func Connect(ctx context.Context, p Pool, id string, ns *os.File) (Network, error) {
	if !isID(id) || !p.Range.IsValid() || p.Range.Bits() > 31 || !p.Range.Addr().Is4() {
		return Network{}, fmt.Errorf("cannot connect the sandbox %q by the range %s", id, p.Range)
	}
	var n Network
	err := each(ctx, p, func(h *netlink.Handle, own []link) error {
		used := map[int]bool{}
		for _, l := range own {
			if l.id != id {
				used[l.n] = true
			} else if err := remove(h, l); err != nil {
				return err
			}
		}
		number, ok := free(func(n int) bool { return used[n] }, pairs(p.Range), rand.N(pairs(p.Range)))
		if !ok {
			return ErrFull
		}
		var err error
		n, err = connect(h, p, id, number, ns)
		return err
	})
	if err != nil {
		return Network{}, fmt.Errorf("cannot make a private network: %w", err)
	}
	return n, nil
}

func connect(h *netlink.Handle, p Pool, id string, number int, ns *os.File) (Network, error) {
	gateway, inside := pair(p.Range, number)
	n := Network{Link: fmt.Sprint(LinkPrefix(p.Tag), number), Address: inside.Addr(), Gateway: gateway.Addr()}
	if err := aside.InNetwork(ns, prepare); err != nil {
		return n, err
	}
	crash.Point("netns.prepared")
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = n.Link, p.MTU
	// Both ends at once: no end of it is ever in the host's network without us.
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: device, PeerNamespace: netlink.NsFd(int(ns.Fd())), PeerMTU: uint32(p.MTU)}
	if err := h.LinkAdd(veth); err != nil {
		return n, fmt.Errorf("cannot add the link %s: %w", n.Link, err)
	}
	crash.Point("netns.linked")
	err := hostEnd(h, veth, alias(p.Tag, id), gateway)
	if err == nil {
		err = aside.InNetwork(ns, func() error { return farEnd(inside, gateway.Addr()) })
	}
	crash.Point("netns.connected")
	if err == nil {
		await(h, n.Link)
	}
	if err != nil {
		err = errors.Join(err, remove(h, link{Link: veth}))
	}
	return n, err
}

// hostEnd marks the host's end, which is not up yet, and gives it its address.
func hostEnd(h *netlink.Handle, l netlink.Link, mark string, addr netip.Prefix) error {
	if err := h.LinkSetAlias(l, mark); err != nil {
		return fmt.Errorf("cannot mark the link: %w", err)
	}
	crash.Point("netns.marked")
	// Not even a link-local address: nothing of the host's is to be had there.
	err := sysctl("ipv6/conf/"+l.Attrs().Name+"/disable_ipv6", "1")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := h.AddrAdd(l, address(addr)); err != nil {
		return fmt.Errorf("cannot give the link its address: %w", err)
	}
	crash.Point("netns.addressed")
	if err := h.LinkSetUp(l); err != nil {
		return fmt.Errorf("cannot start the link: %w", err)
	}
	return nil
}

// prepare is run inside, before there is a way out.
func prepare() error {
	// Links that are added have no IPv6. The loopback device keeps ::1, which
	// programs bind to.
	err := sysctl("ipv6/conf/default/disable_ipv6", "1")
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err == nil {
		// ping works without a capability.
		err = sysctl("ipv4/ping_group_range", "0 2147483647")
	}
	if err != nil {
		return err
	}
	return Loopback()
}

// farEnd is run inside.
func farEnd(addr netip.Prefix, gateway netip.Addr) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	l, err := h.LinkByName(device)
	if err != nil {
		return fmt.Errorf("cannot find the link of the sandbox: %w", err)
	}
	if err := h.AddrAdd(l, address(addr)); err != nil {
		return fmt.Errorf("cannot give the sandbox its address: %w", err)
	}
	if err := h.LinkSetUp(l); err != nil {
		return fmt.Errorf("cannot start the link of the sandbox: %w", err)
	}
	if err := h.RouteAdd(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: gateway.AsSlice()}); err != nil {
		return fmt.Errorf("cannot give the sandbox its default route: %w", err)
	}
	await(h, device)
	return nil
}

// await waits for a link to carry packets, which the kernel brings about a moment
// after both ends are up. One that is sent before is lost, and TCP tries again only
// after a second.
func await(h *netlink.Handle, name string) {
	for range 100 {
		if l, err := h.LinkByName(name); err != nil || l.Attrs().OperState == netlink.OperUp {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func address(p netip.Prefix) *netlink.Addr {
	return &netlink.Addr{IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}}
}

func isGone(err error) bool {
	var notFound netlink.LinkNotFoundError
	return errors.Is(err, unix.ENODEV) || errors.As(err, &notFound)
}
