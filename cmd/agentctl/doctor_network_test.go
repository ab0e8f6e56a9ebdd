package main

import (
	"errors"
	"strings"
	"testing"
)

// Each thing that lacks for the networks of sandboxes is told with what mends it.
func TestNetworksAreJudged(t *testing.T) {
	why := errors.New("it is so")
	for _, row := range []struct {
		about, name, verdict, says string
		has                        networking
	}{
		{"all works", "private networks", verdictOK, "ip_forward", networking{root: true}},
		{"all works", "metadata addresses", verdictOK, "refused", networking{root: true}},
		{"all works", "abstract sockets", verdictOK, "Landlock", networking{root: true}},
		{"no NAT", "private networks", verdictWarn, "nft_masq", networking{root: true, private: why}},
		{"the host drops", "private networks", verdictWarn, "accept the links agcx-*", networking{root: true, links: "agcx-", walls: []string{"ip filter FORWARD"}}},
		{"not root", "private networks", verdictOK, "it is so", networking{private: why}},
		{"no nftables", "metadata addresses", verdictWarn, "modprobe nf_tables", networking{root: true, metadata: why}},
		{"not root", "metadata addresses", verdictWarn, "run the agent as root", networking{metadata: why}},
		{"an old kernel", "abstract sockets", verdictWarn, "6.12", networking{root: true, socket: why}},
	} {
		for _, c := range row.has.checks() {
			if c.Name != row.name {
				continue
			}
			if c.Verdict != row.verdict || !strings.Contains(c.Detail+c.Fix, row.says) || (c.Fix == "") != (c.Verdict == verdictOK) {
				t.Errorf("%s: %+v", row.about, c)
			}
		}
	}
}
