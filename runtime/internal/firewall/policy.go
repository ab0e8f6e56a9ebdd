package firewall

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"regexp"
)

// Policy is what holds for all sandboxes of one agent.
type Policy struct {
	// Tag is the mark of the agent; Links begins the names of its sandboxes' links.
	Tag, Links string
	// Range has the addresses of sandboxes in private networks; the zero one means
	// that there are none.
	Range netip.Prefix
	// UID and UIDs are the users of tasks in the host's network, the first and how
	// many; 0 means that there are none.
	UID, UIDs uint32
	// Metadata lets tasks reach link-local addresses and those at which clouds hand
	// out the machine's own credentials.
	Metadata bool
	// Resolvers are name servers that tasks use.
	Resolvers []netip.Addr
	// Ports are of services of the host, by TCP, that private networks may reach.
	Ports []uint16
}

// metadata are link-local addresses and those of metadata services that are not.
var metadata = []netip.Prefix{
	netip.MustParsePrefix("100.100.100.200/32"), // Alibaba Cloud
	netip.MustParsePrefix("168.63.129.16/32"),   // Azure's wire server
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("192.0.0.192/32"), // Oracle Cloud Classic

	netip.MustParsePrefix("64:ff9b::a9fe:0/112"),    // 169.254.0.0/16 through a NAT64
	netip.MustParsePrefix("fd00:42::42/128"),        // Scaleway
	netip.MustParsePrefix("fd00:c1::a9fe:a9fe/128"), // Oracle Cloud
	netip.MustParsePrefix("fd00:ec2::/32"),          // AWS
	netip.MustParsePrefix("fd20:ce::254/128"),       // Google Cloud
	netip.MustParsePrefix("fe80::/10"),
}

// services are where metadata is handed out, of all those addresses.
var services = []netip.Prefix{
	netip.MustParsePrefix("100.100.100.200/32"),
	netip.MustParsePrefix("168.63.129.16/32"),
	netip.MustParsePrefix("169.254.0.23/32"),  // Tencent Cloud
	netip.MustParsePrefix("169.254.42.42/32"), // Scaleway
	netip.MustParsePrefix("169.254.169.254/32"),
	netip.MustParsePrefix("169.254.170.2/32"),  // AWS, for containers
	netip.MustParsePrefix("169.254.170.23/32"), // AWS, for pods
	netip.MustParsePrefix("192.0.0.192/32"),

	netip.MustParsePrefix("fd00:42::42/128"),
	netip.MustParsePrefix("fd00:c1::a9fe:a9fe/128"),
	netip.MustParsePrefix("fd00:ec2::/32"),
	netip.MustParsePrefix("fd20:ce::254/128"),
	netip.MustParsePrefix("fe80::a9fe:a9fe/128"), // OpenStack
}

var tags = regexp.MustCompile(`^[0-9a-z]{1,5}$`)

func (p Policy) check() error {
	switch {
	case !tags.MatchString(p.Tag):
		return fmt.Errorf("%q can't be the mark of an agent", p.Tag)
	case len(p.Links) == 0 || len(p.Links) > 15:
		return fmt.Errorf("%q can't begin the names of links", p.Links)
	case p.Range.IsValid() && !p.Range.Addr().Is4():
		return fmt.Errorf("%s is no range of IPv4", p.Range)
	case p.UIDs > 0 && p.UID+p.UIDs-1 < p.UID:
		return fmt.Errorf("%d users from %d on are more than there can be", p.UIDs, p.UID)
	}
	return nil
}

// empty tells that no rule is needed.
func (p Policy) empty() bool { return !p.Range.IsValid() && (p.UIDs == 0 || p.Metadata) }

// table is the name of the agent's table.
func (p Policy) table() string { return "agentctl_" + p.Tag }

// mark is the name of an empty chain by which a table with the rules of this policy
// is known; made is increased when the rules for the same policy become others.
func (p Policy) mark() string {
	const made = 1
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %+v", made, p))
	return "policy_" + hex.EncodeToString(sum[:6])
}
