package firewall

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"

	"agentctl/runtime/internal/nettest"
)

func TestCheck(t *testing.T) {
	good := Policy{Tag: "a", Links: "agca-", Range: netip.MustParsePrefix("10.213.0.0/20")}
	for name, bad := range map[string]func(*Policy){
		"tag":   func(p *Policy) { p.Tag = "A b" },
		"links": func(p *Policy) { p.Links = "" },
		"range": func(p *Policy) { p.Range = netip.MustParsePrefix("fd00::/8") },
		"users": func(p *Policy) { p.UID, p.UIDs = 1<<32-1, 2 },
	} {
		p := good
		bad(&p)
		if err := Ensure(p); err == nil || !strings.HasPrefix(err.Error(), "cannot set the packet filter of sandboxes: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// dump is what the kernel has of others' tables and of ours.
func dump(t *testing.T, ns nettest.NS) (lines []string) {
	t.Helper()
	ns.Must(t, func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		chains, err := c.ListChains()
		for _, ch := range chains {
			lines = append(lines, ch.Table.Name+" "+ch.Name)
			rules, rerr := c.GetRules(ch.Table, ch)
			err = errors.Join(err, rerr)
			for _, r := range rules {
				lines = append(lines, fmt.Sprint(ch.Table.Name, " ", ch.Name, " ", r.Handle, " ", len(r.Exprs)))
			}
		}
		return err
	})
	return lines
}

func TestEnsure(t *testing.T) {
	s := newSite(t, 0, nil)
	other := &nftables.Table{Name: "agentctl", Family: nftables.TableFamilyINet}
	s.Host.Must(t, func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		c.AddTable(other)
		deny := nftables.ChainPolicyDrop
		ch := c.AddChain(&nftables.Chain{
			Name: "FORWARD", Table: other, Type: nftables.ChainTypeFilter, Policy: &deny,
			Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter,
		})
		c.AddRule(&nftables.Rule{Table: other, Chain: ch, Exprs: from("x")})
		return c.Flush()
	})
	s.Host.Must(t, func() error {
		found, err := Obstacles(s.pool.Tag)
		if !slices.Equal(found, []string{"inet agentctl FORWARD"}) {
			t.Errorf("obstacles: %v", found)
		}
		return err
	})
	isOurs := func(line string) bool { return strings.HasPrefix(line, "agentctl_") }
	before := dump(t, s.Host)
	table := &nftables.Table{Name: s.policy(nil).table(), Family: nftables.TableFamilyINet}
	for _, spoilt := range []struct {
		what string
		do   func(c *nftables.Conn)
	}{
		{"", func(*nftables.Conn) {}},
		{"rules", func(c *nftables.Conn) { c.FlushChain(&nftables.Chain{Table: table, Name: "input"}) }},
		{"addresses", func(c *nftables.Conn) { c.FlushSet(&nftables.Set{Table: table, Name: "metadata4"}) }},
	} {
		s.Host.Must(t, func() error {
			c, err := nftables.New()
			if err != nil {
				return err
			}
			c.AddChain(&nftables.Chain{Table: table, Name: "trace"}) // gone if the table is made again
			spoilt.do(c)
			return c.Flush()
		})
		s.ensure(t, s.policy(nil))
		after := dump(t, s.Host)
		again := !slices.Contains(after, table.Name+" trace")
		if again != (spoilt.what != "") || again && len(after) != len(before) {
			t.Errorf("with %q removed, made again: %v, %d of %d", spoilt.what, again, len(after), len(before))
		}
	}
	s.ensure(t, s.policy(func(p *Policy) { p.Ports = []uint16{7} }))
	if after := dump(t, s.Host); len(after) != len(before)+1 {
		t.Errorf("another policy: %d rules, before %d", len(after), len(before))
	}
	theirs := slices.DeleteFunc(dump(t, s.Host), isOurs)
	for range 2 {
		s.ensure(t, s.policy(func(p *Policy) { p.Range = netip.Prefix{} }))
	}
	if after := dump(t, s.Host); !slices.Equal(after, theirs) || len(theirs) != 2 {
		t.Errorf("left are %v; of others %v", after, theirs)
	}
}

// Forwarding is switched on once, and said.
func TestForward(t *testing.T) {
	nettest.New(t).Must(t, func() error {
		// A new namespace has what the host has.
		if err := os.WriteFile(forwarding, []byte("0"), 0o644); err != nil {
			return err
		}
		for i, want := range []bool{true, false} {
			if changed, err := Forward(); err != nil || changed != want {
				t.Errorf("time %d: %v, %v", i, changed, err)
			}
		}
		return nil
	})
}
