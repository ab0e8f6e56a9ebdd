package worker

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"agentctl/runtime/dockerargs"

	"github.com/samber/lo"
)

// hostsFile is /etc/hosts of a sandbox: in the host's own network what the host has
// in its file, and in all the loopback, its own name and what was asked for. Whatever
// comes first counts.
func hostsFile(host string, hostname string, s dockerargs.Settings) string {
	var b strings.Builder
	for _, h := range s.Hosts {
		fmt.Fprintf(&b, "%s\t%s\n", h.Addr, h.Name)
	}
	b.WriteString("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n")
	if hostname != "" {
		fmt.Fprintf(&b, "127.0.1.1\t%s\n", hostname)
	}
	if s.Network == dockerargs.NetworkHost {
		b.WriteString(host)
	}
	return b.String()
}

// resolvConf is /etc/resolv.conf of a sandbox: that of the host, less what settings
// say otherwise. Out of another network a name server on the host's loopback can't be
// reached, and out of none no server at all: looking for it would cost seconds each time.
func resolvConf(host string, s dockerargs.Settings) string {
	servers := lo.Map(s.DNS, func(a netip.Addr, _ int) string { return a.String() })
	search, options := s.DNSSearch, s.DNSOptions
	ownServers, ownSearch := len(servers) > 0, len(search) > 0
	for line := range strings.Lines(host) {
		switch f := strings.Fields(line); {
		case len(f) < 2:
		case f[0] == "nameserver" && !ownServers:
			addr, err := netip.ParseAddr(f[1])
			reached := s.Network == dockerargs.NetworkHost || s.Network == dockerargs.NetworkPrivate && !addr.IsLoopback()
			if err == nil && reached {
				servers = append(servers, f[1])
			}
		case (f[0] == "search" || f[0] == "domain") && !ownSearch:
			search = f[1:]
		case f[0] == "options":
			options = slices.Concat(f[1:], options)
		}
	}
	var b strings.Builder
	for _, server := range servers {
		fmt.Fprintf(&b, "nameserver %s\n", server)
	}
	if len(search) > 0 && search[0] != "." {
		fmt.Fprintf(&b, "search %s\n", strings.Join(search, " "))
	}
	if len(options) > 0 {
		fmt.Fprintf(&b, "options %s\n", strings.Join(options, " "))
	}
	return b.String()
}
