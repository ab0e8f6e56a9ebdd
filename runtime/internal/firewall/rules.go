package firewall

import (
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Ours come before the host's own rules, which may accept what we don't.
var (
	early  = nftables.ChainPriorityRef(-10)
	latest = nftables.ChainPriorityNATSource
)

// build makes the table of a policy.
func build(p Policy) *built {
	b := &built{table: &nftables.Table{Name: p.table(), Family: nftables.TableFamilyINet}}
	b.chain(p.mark(), "", nil, nil)
	b.resolvers(p)
	if !p.Metadata {
		b.metadata()
	}
	if p.Range.IsValid() {
		b.forward(p)
		b.input(p)
		post := b.chain("postrouting", nftables.ChainTypeNAT, nftables.ChainHookPostrouting, latest)
		b.rule(post, source(p.Range), match{&expr.Masq{}})
	}
	if p.UIDs > 0 && !p.Metadata {
		b.output(p)
	}
	return b
}

// resolvers makes the chain that accepts questions to name servers.
func (b *built) resolvers(p Policy) {
	ch := b.chain("resolvers", "", nil, nil)
	var nets []netip.Prefix
	for _, a := range p.Resolvers {
		if a = a.Unmap().WithZone(""); a.IsValid() && !a.IsLoopback() {
			nets = append(nets, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	slices.SortFunc(nets, netip.Prefix.Compare)
	nets = slices.Compact(nets)
	for _, four := range []bool{true, false} {
		if s := b.addresses("resolvers", four, nets); s != nil {
			b.rule(ch, destination(s), port(unix.IPPROTO_UDP, 53), accept)
			b.rule(ch, destination(s), port(unix.IPPROTO_TCP, 53), accept)
		}
	}
}

// metadata makes the chain that refuses addresses which are the machine's own.
func (b *built) metadata() {
	ch := b.chain("metadata", "", nil, nil)
	b.rule(ch, jump("resolvers"))
	for _, four := range []bool{true, false} {
		b.refuse(ch, destination(b.addresses("metadata", four, metadata)))
	}
}

// forward makes the chains for what private networks send to and get from others.
func (b *built) forward(p Policy) {
	leaving := b.chain("leaving", "", nil, nil)
	b.rule(leaving, unrouted(), drop)
	if !p.Metadata {
		b.rule(leaving, jump("metadata"))
	}
	ch := b.chain("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, early)
	b.rule(ch, from(p.Links), jump("leaving"))
	// Whoever sends it: outside, another sandbox, one of another agent.
	b.refuse(ch, to(p.Links), answers(expr.CmpOpEq))
}

// output makes the chains for what tasks in the host's network send.
func (b *built) output(p Policy) {
	unowned := b.chain("unowned", "", nil, nil)
	for _, four := range []bool{true, false} {
		b.refuse(unowned, destination(b.addresses("services", four, services)))
	}
	ch := b.chain("output", nftables.ChainTypeFilter, nftables.ChainHookOutput, early)
	b.rule(ch, users(p.UID, p.UIDs), jump("metadata"))
	b.rule(ch, users(0, 1<<32-1), verdict(expr.VerdictReturn, ""))
	// Sockets that the kernel makes on behalf of a user are nobody's: those of
	// AF_SMC, and of MPTCP before Linux 6.5. Others of its own, as of NFS, may well
	// go to link-local addresses, but not to these.
	b.rule(ch, opening(), jump("unowned"))
}

// input makes the chains for what private networks send to the host itself.
func (b *built) input(p Policy) {
	local := b.chain("local", "", nil, nil)
	b.rule(local, unrouted(), drop)
	b.rule(local, answers(expr.CmpOpNeq), accept)
	b.rule(local, jump("resolvers"))
	for _, n := range p.Ports {
		b.rule(local, port(unix.IPPROTO_TCP, n), accept)
	}
	b.refuse(local)
	ch := b.chain("input", nftables.ChainTypeFilter, nftables.ChainHookInput, early)
	b.rule(ch, from(p.Links), jump("local"))
}
