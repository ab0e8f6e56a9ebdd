package netns

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Pool is what the networks of one agent have in common, and all that a shim needs
// to know of the host.
type Pool struct {
	// Tag is the mark of the agent.
	Tag string `json:"tag"`
	// Range has the addresses of all sandboxes of the agent.
	Range netip.Prefix `json:"range"`
	// MTU is that of the host's way out: inside, a larger one would rely on answers
	// that many networks drop.
	MTU int `json:"mtu"`
	// Lock is a file that only root can open, one for all agents of the host.
	Lock string `json:"lock"`
}

// rangeBits is the size of a range: 2,048 pairs of addresses.
const rangeBits = 20

// pair has the addresses of sandbox n: the host's end, and the one inside.
func pair(r netip.Prefix, n int) (gateway, inside netip.Prefix) {
	a := r.Masked().Addr().As4()
	a[2] += byte(2 * n >> 8)
	a[3] += byte(2 * n)
	addr := netip.AddrFrom4(a)
	return netip.PrefixFrom(addr, 31), netip.PrefixFrom(addr.Next(), 31)
}

// pairs is how many pairs of addresses a range has.
func pairs(r netip.Prefix) int { return 1 << (31 - r.Bits()) }

// free finds a number that is not in use, from start on: numbers that were used
// lately, for whose connections packets may still come, are rarely taken again.
func free(used func(n int) bool, size, start int) (int, bool) {
	for i := range size {
		if n := (start + i) % size; !used(n) {
			return n, true
		}
	}
	return 0, false
}

// blocks are networks that belong to nobody. Which of them an organisation uses is
// seen from the host only in part.
var blocks = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"),
	netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("198.18.0.0/15"),
}

// candidates are where ranges are taken from, beginning with the first.
var candidates = []netip.Prefix{
	netip.MustParsePrefix("10.213.0.0/16"),
	netip.MustParsePrefix("172.29.0.0/16"),
	netip.MustParsePrefix("192.168.128.0/17"),
	netip.MustParsePrefix("198.18.0.0/16"),
}

// pick chooses a range that overlaps with no network that the host knows, best one
// of a block of which the host knows none at all.
func pick(known []netip.Prefix) (netip.Prefix, bool) {
	var second netip.Prefix
	for i, c := range candidates {
		fresh := !overlaps(blocks[i], known)
		for r := netip.PrefixFrom(c.Addr(), rangeBits); c.Overlaps(r); r = after(r) {
			if overlaps(r, known) {
				continue
			}
			if fresh {
				return r, true
			}
			if !second.IsValid() {
				second = r
			}
		}
	}
	return second, second.IsValid()
}

func overlaps(p netip.Prefix, known []netip.Prefix) bool {
	for _, k := range known {
		if p.Overlaps(k) {
			return true
		}
	}
	return false
}

// after is the range behind r.
func after(r netip.Prefix) netip.Prefix {
	a := r.Addr().As4()
	v := (uint32(a[0])<<24 | uint32(a[1])<<16 | uint32(a[2])<<8) + 1<<(32-rangeBits)
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8)}), rangeBits)
}

// networks lists what the host has routes to and addresses of, but for the default
// routes and what goes by the links of skip.
func networks(h *netlink.Handle, skip []link) ([]netip.Prefix, error) {
	routes, err := whole(func() ([]netlink.Route, error) {
		return h.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return nil, fmt.Errorf("cannot list the routes: %w", err)
	}
	ours := map[int]bool{}
	for _, l := range skip {
		ours[l.Attrs().Index] = true
	}
	var known []netip.Prefix
	for _, r := range routes {
		if p, ok := prefix(r.Dst); ok && p.Bits() > 0 && !ours[r.LinkIndex] {
			known = append(known, p)
		}
	}
	return known, nil
}

func prefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	return netip.PrefixFrom(addr.Unmap(), ones), ok && bits == 32
}

// rangeOf is the range of a link that lives, so that all of an agent's are of one.
func rangeOf(h *netlink.Handle, l link) (netip.Prefix, error) {
	addrs, err := whole(func() ([]netlink.Addr, error) { return h.AddrList(l, netlink.FAMILY_V4) })
	if err != nil {
		return netip.Prefix{}, err
	}
	for _, a := range addrs {
		if p, ok := prefix(a.IPNet); ok {
			return netip.PrefixFrom(p.Addr(), rangeBits).Masked(), nil
		}
	}
	return netip.Prefix{}, errors.New("it has no address")
}
