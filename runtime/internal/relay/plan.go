package relay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// maxURLs is more than a task has.
const maxURLs = 16

// Route leads from an address inside to a server.
type Route struct {
	Listen netip.AddrPort `json:"listen"`
	Server string         `json:"server"` // host:port
}

// Plan is how a task reaches its servers.
type Plan struct {
	Routes []Route `json:"routes"`
	// Hosts are lines of /etc/hosts.
	Hosts []Host `json:"hosts,omitempty"`
	// Local are addresses, besides 127.0.0.0/8 and ::1, that the loopback device
	// must have.
	Local []netip.Addr `json:"local,omitempty"`
}

// Host is an address and a name for it.
type Host struct {
	Addr netip.Addr `json:"addr"`
	Name string     `json:"name"`
}

// HostsLines is what /etc/hosts must have.
func (p Plan) HostsLines() string {
	var b strings.Builder
	for _, h := range p.Hosts {
		fmt.Fprintf(&b, "%s\t%s\n", h.Addr, h.Name)
	}
	return b.String()
}

// isHost tells whether a name needs no quoting anywhere.
func isHost(name string) bool {
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

// server is where a URL leads.
type server struct {
	name string     // "" for one that is known by its address
	addr netip.Addr // inside, once it is known
	port uint16
}

// New plans the way to the servers of URLs, which are http or https.
func New(urls ...string) (Plan, error) {
	if len(urls) > maxURLs {
		return Plan{}, fmt.Errorf("cannot lead to %d servers: %d at most", len(urls), maxURLs)
	}
	var all []server
	for _, u := range urls {
		s, err := parse(u)
		if err != nil {
			return Plan{}, err
		}
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	return place(all)
}

// parse never tells a URL in its errors: it may hold a password.
func parse(text string) (server, error) {
	u, err := url.Parse(text)
	if err != nil {
		return server{}, errors.New("cannot lead to a server whose URL can't be parsed")
	}
	port := map[string]string{"http": "80", "https": "443"}[u.Scheme]
	if port == "" {
		return server{}, fmt.Errorf("cannot lead to a server by %q: http and https are known", u.Scheme)
	}
	if u.Port() != "" {
		port = u.Port()
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return server{}, fmt.Errorf("cannot lead to port %q of a server", port)
	}
	s := server{name: strings.ToLower(u.Hostname()), port: uint16(n)}
	if a, err := netip.ParseAddr(s.name); err == nil {
		a = a.Unmap()
		if a.IsUnspecified() || a.IsMulticast() || a.Zone() != "" {
			return server{}, fmt.Errorf("cannot lead to a server at %s", a)
		}
		return server{addr: a, port: s.port}, nil
	}
	if !isHost(s.name) {
		return server{}, fmt.Errorf("cannot lead to a server named %q", s.name)
	}
	if s.name == "localhost" || strings.HasSuffix(s.name, ".localhost") {
		return server{addr: netip.AddrFrom4([4]byte{127, 0, 0, 1}), port: s.port}, nil
	}
	return s, nil
}

// place gives each server that has a name a loopback address at which the ports of
// all of that name are free.
func place(all []server) (Plan, error) {
	var p Plan
	taken := map[netip.AddrPort]bool{}
	for _, s := range all {
		if s.name != "" {
			continue
		}
		at := netip.AddrPortFrom(s.addr, s.port)
		if !taken[at] {
			p.Routes = append(p.Routes, Route{at, at.String()})
			taken[at] = true
		}
		if !s.addr.IsLoopback() && !slices.Contains(p.Local, s.addr) {
			p.Local = append(p.Local, s.addr)
		}
	}
	placed := map[string]bool{}
	for _, s := range all {
		if s.name == "" || placed[s.name] {
			continue
		}
		placed[s.name] = true
		addr := freeFor(s.name, all, taken)
		p.Hosts = append(p.Hosts, Host{addr, s.name})
		for _, other := range all {
			if other.name != s.name {
				continue
			}
			at := netip.AddrPortFrom(addr, other.port)
			taken[at] = true
			p.Routes = append(p.Routes, Route{at, net.JoinHostPort(s.name, strconv.Itoa(int(other.port)))})
		}
	}
	return p, nil
}

// freeFor is the first of 127.0.0.1 and on; the servers are fewer than these.
func freeFor(name string, all []server, taken map[netip.AddrPort]bool) netip.Addr {
	addr := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	for {
		free := true
		for _, s := range all {
			free = free && (s.name != name || !taken[netip.AddrPortFrom(addr, s.port)])
		}
		if free {
			return addr
		}
		addr = addr.Next()
	}
}
