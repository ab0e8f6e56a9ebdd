package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Loopback starts the loopback device of the calling thread's namespace and gives
// it further addresses: a server whose address a task knows is reached there,
// through the relay.
func Loopback(addrs ...netip.Addr) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err == nil {
		err = h.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("cannot start the loopback device: %w", err)
	}
	for _, a := range addrs {
		if a.IsLoopback() {
			continue // all of 127.0.0.0/8 is there, and of IPv6 only ::1 can be
		}
		addr := address(netip.PrefixFrom(a, a.BitLen()))
		addr.Flags = unix.IFA_F_NODAD // nobody else is on this link to be asked
		err := h.AddrAdd(lo, addr)
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("cannot give the loopback device the address %s: %w", a, err)
		}
		if err := settle(h, a); err != nil {
			return err
		}
	}
	// Inside, ports below 1024 are nobody's privilege: the task's root has no
	// capability for them, nor neighbours that would trust them.
	return sysctl("ipv4/ip_unprivileged_port_start", "0")
}

// settle waits for an address to be in use, which for IPv6 the kernel brings about a
// moment later, by a worker; a route to it, as to another's, is there before.
func settle(h *netlink.Handle, a netip.Addr) error {
	for range 1000 {
		if r, err := h.RouteGet(a.AsSlice()); err == nil && len(r) > 0 && r[0].Type == unix.RTN_LOCAL {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return fmt.Errorf("cannot use the address %s of the loopback device: the kernel is slow to take it", a)
}

// sysctl writes a setting of the calling thread's network.
func sysctl(name, value string) error {
	path := "/proc/sys/net/" + name
	// A file that can't be written, as in a unit with ProtectKernelTunables, may say
	// what is wanted already.
	if old, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(old)) == value {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(value)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		var perr *fs.PathError
		if errors.As(err, &perr) {
			err = perr.Err
		}
		return fmt.Errorf("cannot set net.%s to %s: %w", strings.ReplaceAll(name, "/", "."), value, err)
	}
	return nil
}
