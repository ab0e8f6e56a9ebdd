package firewall

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Ensure makes the agent's table hold the policy, all at once: no packet passes
// between the old rules and the new ones. A table that has them is left alone, one
// that nothing needs is removed.
func Ensure(p Policy) error {
	if p.empty() {
		return Remove(p.Tag)
	}
	err := p.check()
	if err == nil {
		err = ensure(p)
	}
	if err != nil {
		return fmt.Errorf("cannot set the packet filter of sandboxes: %w", err)
	}
	return nil
}

func ensure(p Policy) error {
	c, err := nftables.New()
	if err != nil {
		return err
	}
	b := build(p)
	if has, err := b.isThere(c); err != nil || has {
		return err
	}
	// In one transaction, of which no half can be left. Deleting needs a table to be
	// there.
	c.AddTable(b.table)
	c.DelTable(b.table)
	c.AddTable(b.table)
	for _, s := range b.sets {
		if err := c.AddSet(s.Set, s.elements); err != nil {
			return err
		}
	}
	for _, ch := range b.chains {
		c.AddChain(ch)
	}
	for _, r := range b.rules {
		c.AddRule(r)
	}
	return c.Flush()
}

// Remove removes the table of an agent.
func Remove(tag string) error {
	c, err := nftables.New()
	if err == nil {
		c.DelTable(&nftables.Table{Name: Policy{Tag: tag}.table(), Family: nftables.TableFamilyINet})
		err = c.Flush()
	}
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	return fmt.Errorf("cannot remove the packet filter of sandboxes: %w", err)
}

// set is a set of addresses and what is in it.
type set struct {
	*nftables.Set
	elements []nftables.SetElement
}

// built is a table before it is the kernel's.
type built struct {
	table  *nftables.Table
	sets   []set
	chains []*nftables.Chain
	rules  []*nftables.Rule
}

// isThere tells whether the kernel has this table: of the same policy, and nothing
// of it gone by somebody else's hand.
func (b *built) isThere(c *nftables.Conn) (bool, error) {
	all, err := c.ListChainsOfTableFamily(b.table.Family)
	if err != nil {
		return false, err
	}
	have := map[string]bool{}
	for _, ch := range all {
		if ch.Table.Name == b.table.Name {
			have[ch.Name] = true
		}
	}
	rules := 0
	for _, ch := range b.chains {
		if !have[ch.Name] {
			return false, nil
		}
		got, err := c.GetRules(b.table, ch)
		if err != nil {
			return false, err
		}
		rules += len(got)
	}
	for _, s := range b.sets {
		got, err := c.GetSetElements(s.Set)
		if err != nil || len(got) != len(s.elements) {
			return false, err
		}
	}
	return rules == len(b.rules), nil
}

// chain adds a chain; hook nil makes one that is only jumped to.
func (b *built) chain(name string, kind nftables.ChainType, hook *nftables.ChainHook, prio *nftables.ChainPriority) *nftables.Chain {
	ch := &nftables.Chain{Name: name, Table: b.table}
	if hook != nil {
		pass := nftables.ChainPolicyAccept
		ch.Type, ch.Hooknum, ch.Priority, ch.Policy = kind, hook, prio, &pass
	}
	b.chains = append(b.chains, ch)
	return ch
}

func (b *built) rule(ch *nftables.Chain, parts ...match) {
	b.rules = append(b.rules, &nftables.Rule{Table: b.table, Chain: ch, Exprs: []expr.Any(slices.Concat(parts...))})
}

// refuse adds rules that refuse in a way that is heard: one who waited for an answer
// would take it for a slow network.
func (b *built) refuse(ch *nftables.Chain, parts ...match) {
	b.rule(ch, append(slices.Clone(parts), protocol(unix.IPPROTO_TCP), reset)...)
	b.rule(ch, append(slices.Clone(parts), prohibited)...)
}

// addresses adds a set for those of nets that are of one family; nil if none is.
func (b *built) addresses(name string, four bool, nets []netip.Prefix) *nftables.Set {
	s := &nftables.Set{Table: b.table, Name: name + "6", KeyType: nftables.TypeIP6Addr, Interval: true, ID: uint32(len(b.sets) + 1)}
	if four {
		s.Name, s.KeyType = name+"4", nftables.TypeIPAddr
	}
	var mine []netip.Prefix
	for _, n := range nets {
		if n.Addr().Is4() == four {
			mine = append(mine, n)
		}
	}
	if mine == nil {
		return nil
	}
	b.sets = append(b.sets, set{s, elements(mine)})
	return s
}
