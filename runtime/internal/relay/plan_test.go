package relay

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPlan(t *testing.T) {
	for _, tt := range []struct {
		urls, routes, hosts, local []string
	}{
		{
			[]string{"http://127.0.0.1:8008", "http://127.0.0.1:8081/", "http://127.0.0.1:8008/v2"},
			[]string{"127.0.0.1:8008=127.0.0.1:8008", "127.0.0.1:8081=127.0.0.1:8081"}, nil, nil,
		},
		{
			[]string{"https://API.example.com", "https://files.example.com/x", "http://api.example.com:8080"},
			[]string{"127.0.0.1:443=api.example.com:443", "127.0.0.1:8080=api.example.com:8080", "127.0.0.2:443=files.example.com:443"},
			[]string{"127.0.0.1 api.example.com", "127.0.0.2 files.example.com"}, nil,
		},
		{ // A name may not take what an address has, wherever it stands.
			[]string{"http://server:8008", "http://localhost:8008", "http://other:8081"},
			[]string{"127.0.0.1:8008=127.0.0.1:8008", "127.0.0.2:8008=server:8008", "127.0.0.1:8081=other:8081"},
			[]string{"127.0.0.2 server", "127.0.0.1 other"}, nil,
		},
		{
			[]string{"http://192.0.2.7:8008", "http://192.0.2.7:8081", "http://[::1]:8008", "http://[2001:db8::1]"},
			[]string{"192.0.2.7:8008=192.0.2.7:8008", "192.0.2.7:8081=192.0.2.7:8081", "[::1]:8008=[::1]:8008", "[2001:db8::1]:80=[2001:db8::1]:80"},
			nil, []string{"192.0.2.7", "2001:db8::1"},
		},
	} {
		p, err := New(tt.urls...)
		if err != nil {
			t.Errorf("%v: %v", tt.urls, err)
		}
		var routes, hosts, local []string
		for _, r := range p.Routes {
			routes = append(routes, r.Listen.String()+"="+r.Server)
		}
		for line := range strings.Lines(p.HostsLines()) {
			hosts = append(hosts, strings.Join(strings.Fields(line), " "))
		}
		for _, a := range p.Local {
			local = append(local, a.String())
		}
		for _, d := range []string{cmp.Diff(tt.routes, routes), cmp.Diff(tt.hosts, hosts), cmp.Diff(tt.local, local)} {
			if d != "" {
				t.Errorf("%v: %s", tt.urls, d)
			}
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	for _, u := range []string{
		"", "ftp://a", "a:80", "http://", "http://a b", "http://a:0", "http://a:99999", "http://user:secret@a:x",
		"http://0.0.0.0:1", "http://[::]:1", "http://[fe80::1%25eth0]:1", "http://224.0.0.1:1",
		"http://a%0ab:80", "http://-a", "http://" + strings.Repeat("a", 64), "http://" + strings.Repeat("a.", 127) + "aa", "http://a..b", "http://ä.example",
	} {
		if p, err := New(u); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %+v, %v", u, p, err)
		}
	}
	if _, err := New(make([]string, maxURLs+1)...); err == nil {
		t.Error("too many are taken")
	}
}

func FuzzPlan(f *testing.F) {
	f.Add("http://127.0.0.1:8008", "https://api.example.com", "http://localhost:8008")
	f.Add("http://a:8008", "http://b:8008", "http://[::ffff:127.0.0.1]:8008")
	f.Fuzz(func(t *testing.T, a, b, c string) {
		p, err := New(a, b, c)
		if err != nil {
			return
		}
		taken, names := map[netip.AddrPort]bool{}, map[string]bool{}
		for _, r := range p.Routes {
			if taken[r.Listen] || r.Listen.Port() == 0 || r.Listen.Addr().IsUnspecified() {
				t.Errorf("%v: %s", p.Routes, r.Listen)
			}
			taken[r.Listen] = true
		}
		for _, h := range p.Hosts {
			if names[h.Name] || !h.Addr.IsLoopback() {
				t.Errorf("%v", p.Hosts)
			}
			names[h.Name] = true
		}
		if lines := strings.Count(p.HostsLines(), "\n"); lines != len(p.Hosts) || strings.ContainsAny(p.HostsLines(), "\r\x00#") {
			t.Errorf("hosts: %q", p.HostsLines())
		}
	})
}
