package netns

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestResolvers(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	missing := filepath.Join(dir, "missing")
	plain := write("plain", "# mine\ndomain a.example\nnameserver 192.0.2.1 \nnameserver\t192.0.2.2\nnameserver 127.0.0.1\noptions ndots:2  rotate\nnameserver ::ffff:192.0.2.3\nnameserver 192.0.2.4")
	stub := write("stub", "nameserver 127.0.0.53\noptions edns0\nsearch b.example\n")
	upstream := write("upstream", "nameserver 2001:db8::1\nnameserver fe80::1%eth0\nnameserver 192.0.2.9\nsearch b.example\n")
	only6 := write("only6", "nameserver 2001:db8::1\nnameserver 0.0.0.0\nnameserver nonsense\n")
	for _, tt := range []struct {
		files      []string
		conf, says string
	}{
		{[]string{plain, upstream}, "nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\ndomain a.example\noptions ndots:2 rotate\n", ""},
		{[]string{stub, missing, upstream}, "nameserver 192.0.2.9\nsearch b.example\n", ""},
		{[]string{missing, upstream}, "nameserver 192.0.2.9\nsearch b.example\n", ""},
		{[]string{stub, only6}, "", "127.0.0.53; " + only6 + " has 2001:db8::1, 0.0.0.0, nonsense"},
		{[]string{missing}, "", "it has none"},
	} {
		conf, servers, err := resolvers(tt.files)
		if string(conf) != tt.conf || tt.says != "" && (!errors.Is(err, ErrNoResolver) || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%v: %q, %v", tt.files, conf, err)
		}
		for _, s := range servers {
			if !strings.Contains(tt.conf, s.String()) {
				t.Errorf("%v: server %s is not told", tt.files, s)
			}
		}
	}
	const all = "[2001:db8::1 fe80::1 192.0.2.9 2001:db8::1]"
	if got := servers([]string{stub, missing, dir, upstream, only6}); fmt.Sprint(got) != all {
		t.Errorf("servers %v; want %s", got, all)
	}
	if _, _, err := resolvers([]string{dir}); err == nil {
		t.Error("a folder was read")
	}
}

func FuzzResolv(f *testing.F) {
	f.Add([]byte("nameserver 192.0.2.1\nsearch a b\n"))
	f.Add([]byte("nameserver fe80::1%x\noptions\tndots:1\x00\r\nnameserver 0\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := parseResolv(data)
		if len(r.servers) > maxServers {
			t.Errorf("%d servers", len(r.servers))
		}
		for _, s := range r.servers {
			if !s.Is4() || s.IsLoopback() || s == netip.IPv4Unspecified() {
				t.Errorf("server %s", s)
			}
		}
		// What is written is read as the same.
		if again := parseResolv(r.conf()); fmt.Sprint(again.servers, again.rest) != fmt.Sprint(r.servers, r.rest) {
			t.Errorf("%q became %q", r.conf(), again.conf())
		}
	})
}
