package netns

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
)

// resolvFiles are where the host's name servers stand, the files of programs that
// answer at a loopback address and name those they ask themselves behind the one
// that everybody reads.
var resolvFiles = []string{
	"/etc/resolv.conf",
	"/run/systemd/resolve/resolv.conf",
	"/run/NetworkManager/no-stub-resolv.conf",
	"/run/dnsmasq/resolv.conf",
}

const (
	maxResolv  = 64 << 10
	maxServers = 3 // of which the C library knows
)

// ErrNoResolver means that a private network would have no name server.
var ErrNoResolver = errors.New("no name server of the host can be reached from a private network")

// Resolvers reads the host's resolv.conf for a private network: what it must
// contain inside, and the name servers in it, to which packages have to pass. One
// that answers at the host's loopback is passed over for those that it asks.
func Resolvers() (conf []byte, servers []netip.Addr, err error) { return resolvers(resolvFiles) }

func resolvers(files []string) ([]byte, []netip.Addr, error) {
	var why []string
	for _, file := range files {
		r, err := readResolv(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("cannot read the name servers of the host: %w", err)
		}
		if len(r.servers) > 0 {
			return r.conf(), r.servers, nil
		}
		if len(r.useless) > 0 {
			why = append(why, file+" has "+strings.Join(r.useless, ", "))
		}
	}
	if len(why) == 0 {
		why = []string{"it has none"}
	}
	return nil, nil, fmt.Errorf("%w: %s", ErrNoResolver, strings.Join(why, "; "))
}

// Servers lists the host's name servers that are not at its loopback: to some of
// them, at addresses that tasks don't reach otherwise, questions must pass.
func Servers() []netip.Addr { return servers(resolvFiles) }

func servers(files []string) []netip.Addr {
	var all []netip.Addr
	for _, file := range files {
		// Where one can't be read, what it would allow is not.
		r, _ := readResolv(file)
		all = append(all, r.all...)
	}
	return all
}

// resolv is a resolv.conf.
type resolv struct {
	all     []netip.Addr // servers that are not the host itself
	servers []netip.Addr // of them those for a private network
	useless []string     // servers that are not to be reached from inside
	rest    []string     // lines of search and options
}

func readResolv(path string) (resolv, error) {
	f, err := os.Open(path)
	if err != nil {
		return resolv{}, err
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, maxResolv))
	return parseResolv(data), err
}

func parseResolv(data []byte) resolv {
	var r resolv
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		switch fields[0] {
		case "nameserver":
			a, err := netip.ParseAddr(fields[1])
			a = a.Unmap()
			usable := err == nil && !a.IsLoopback() && !a.IsUnspecified() && !a.IsMulticast()
			if usable {
				r.all = append(r.all, a.WithZone(""))
			}
			// Inside there is no IPv6.
			if !usable || !a.Is4() {
				r.useless = append(r.useless, fields[1])
			} else if len(r.servers) < maxServers {
				r.servers = append(r.servers, a)
			}
		case "search", "domain", "options":
			r.rest = append(r.rest, strings.Join(fields, " "))
		}
	}
	return r
}

func (r resolv) conf() []byte {
	var b bytes.Buffer
	for _, a := range r.servers {
		fmt.Fprintln(&b, "nameserver", a)
	}
	for _, line := range r.rest {
		fmt.Fprintln(&b, line)
	}
	return b.Bytes()
}
