package netns

import (
	"context"
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// ErrFull means that there is no address left for another sandbox.
var ErrFull = errors.New("no private address is free")

// defaultMTU is Ethernet's.
const defaultMTU = 1500

// Choose fills in Range and MTU. As long as a sandbox of the agent lives, its range
// is kept.
func Choose(ctx context.Context, p Pool) (Pool, error) {
	err := each(ctx, p, func(h *netlink.Handle, own []link) error {
		var err error
		if p.MTU, err = wayOut(h); err != nil {
			return err
		}
		for _, l := range own {
			// One whose maker died before it had an address decides nothing.
			if r, err := rangeOf(h, l); err == nil {
				p.Range = r
				return nil
			}
		}
		known, err := networks(h, own)
		if err != nil {
			return err
		}
		var ok bool
		if p.Range, ok = pick(known); !ok {
			return fmt.Errorf("cannot choose a range for private networks: the host's routes use all that could be had: %w", ErrFull)
		}
		return nil
	})
	return p, err
}

// wayOut is the MTU of the link to which the default route leads.
func wayOut(h *netlink.Handle) (int, error) {
	routes, err := whole(func() ([]netlink.Route, error) {
		return h.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_MAIN}, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return 0, fmt.Errorf("cannot list the routes: %w", err)
	}
	mtu := 0
	for _, r := range routes {
		if p, ok := prefix(r.Dst); ok && p.Bits() > 0 || r.Type != unix.RTN_UNICAST {
			continue
		}
		for _, index := range hops(r) {
			if l, err := h.LinkByIndex(index); err == nil && (mtu == 0 || l.Attrs().MTU < mtu) {
				mtu = l.Attrs().MTU
			}
		}
	}
	if mtu == 0 {
		mtu = defaultMTU
	}
	return mtu, nil
}

func hops(r netlink.Route) []int {
	if len(r.MultiPath) == 0 {
		return []int{r.LinkIndex}
	}
	var found []int
	for _, hop := range r.MultiPath {
		found = append(found, hop.LinkIndex)
	}
	return found
}
