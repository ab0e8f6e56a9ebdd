package runtime

import (
	"os"

	"agentctl/runtime/internal/firewall"
	"agentctl/runtime/internal/landlock"
	"agentctl/runtime/internal/netns"
)

// AbstractSockets tells why sandboxes in the network of the host reach abstract unix
// sockets of the host; nil if they don't.
func AbstractSockets() error { return landlock.Available() }

// MetadataFilter tells why sandboxes in the network of the host can't be kept from
// metadata addresses; nil if they can.
func MetadataFilter() error { return firewall.Available(false) }

// PrivateNetworks tells why there are no private networks on this host; nil if
// there are.
func PrivateNetworks() error {
	if err := netns.Available(); err != nil {
		return err
	}
	return firewall.Available(true)
}

// PrivateLinks begins the names of the host's ends of the private networks of an agent.
func PrivateLinks(owner string) string { return netns.LinkPrefix(netns.Tag(owner)) }

// Obstacles lists the chains of the host's own packet filter that drop what private
// networks of the agent send out, unless they accept its links.
func Obstacles(owner string) ([]string, error) { return firewall.Obstacles(netns.Tag(owner)) }

// ForgetNetworks takes the rules for the agent's sandboxes out of the host's packet
// filter: there must be none. Those of the next one come with it.
func ForgetNetworks(owner string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return firewall.Remove(netns.Tag(owner))
}
