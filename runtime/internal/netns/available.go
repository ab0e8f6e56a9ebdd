package netns

import (
	"fmt"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/aside"
)

// Available tells why no private network can be made on this host, by making one
// of which the host sees nothing.
func Available() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("a private network is not available to user %d: the agent must run as root; use the network none or host", os.Geteuid())
	}
	if err := aside.Do(probe); err != nil {
		return fmt.Errorf("a private network is not available here: %w; use the network none or host", err)
	}
	return nil
}

// probe leaves its thread in a namespace of its own.
func probe() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("cannot make a network namespace: %w", err)
	}
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer h.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "probe0"
	if err := h.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "probe1"}); err != nil {
		return fmt.Errorf("cannot add a veth link: %w", err)
	}
	return nil
}
