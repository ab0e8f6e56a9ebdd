package firewall

import (
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/aside"
)

// Available tells why the rules for sandboxes can't be had on this host, private those
// for private networks with them, by setting them in a network of which the host sees
// nothing.
func Available(private bool) error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("the packet filter is not available to user %d: the agent must run as root", os.Geteuid())
	}
	p := Policy{Tag: "probe", Links: "agcprobe-", UID: 1 << 20, UIDs: 1 << 16}
	if private {
		p.Range = netip.MustParsePrefix("10.0.0.0/24")
	}
	return aside.Do(func() error { // its thread stays in the other network
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("cannot make a network namespace: %w", err)
		}
		return Ensure(p)
	})
}
