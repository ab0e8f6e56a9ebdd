package worker

import (
	"net/netip"
	"testing"

	"agentctl/runtime/dockerargs"

	"github.com/google/go-cmp/cmp"
)

func TestResolvConf(t *testing.T) {
	const host = "# by the host\nnameserver 127.0.0.53\nnameserver 10.0.0.2\noptions edns0 trust-ad\nsearch corp.example lab.example\nnameserver\nbogus x\n"
	for want, s := range map[string]dockerargs.Settings{
		"nameserver 127.0.0.53\nnameserver 10.0.0.2\nsearch corp.example lab.example\noptions edns0 trust-ad\n": {Network: dockerargs.NetworkHost},
		"nameserver 10.0.0.2\nsearch corp.example lab.example\noptions edns0 trust-ad\n":                        {Network: dockerargs.NetworkPrivate},
		"search corp.example lab.example\noptions edns0 trust-ad\n":                                             {Network: dockerargs.NetworkNone},
		"nameserver 10.0.0.9\nsearch a.example\noptions edns0 trust-ad ndots:1\n": {
			Network: dockerargs.NetworkPrivate, DNS: []netip.Addr{netip.MustParseAddr("10.0.0.9")}, DNSSearch: []string{"a.example"}, DNSOptions: []string{"ndots:1"},
		},
		"nameserver 127.0.0.53\nnameserver 10.0.0.2\noptions edns0 trust-ad\n": {Network: dockerargs.NetworkHost, DNSSearch: []string{"."}},
	} {
		if diff := cmp.Diff(want, resolvConf(host, s)); diff != "" {
			t.Errorf("%+v (-want +got)\n%s", s, diff)
		}
	}
}

func TestHostsFile(t *testing.T) {
	s := dockerargs.Settings{Network: dockerargs.NetworkHost, Hosts: []dockerargs.Host{{Name: "registry", Addr: netip.MustParseAddr("10.0.0.7")}}}
	const base = "10.0.0.7\tregistry\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\tbox\n"
	if diff := cmp.Diff(base+"10.0.0.8\tregistry\n", hostsFile("10.0.0.8\tregistry\n", "box", s)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	s.Network = dockerargs.NetworkNone
	if diff := cmp.Diff(base, hostsFile("10.0.0.8\tregistry\n", "box", s)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
