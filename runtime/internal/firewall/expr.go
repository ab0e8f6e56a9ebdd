package firewall

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// match is a part of a rule.
type match []expr.Any

// reg is the register that all comparisons use, of 16 bytes.
const reg = unix.NFT_REG_1

// named matches links whose names begin so: what is compared ends before the name.
func named(key expr.MetaKey, op expr.CmpOp, prefix string) match {
	return match{&expr.Meta{Key: key, Register: reg}, &expr.Cmp{Op: op, Register: reg, Data: []byte(prefix)}}
}

func from(prefix string) match { return named(expr.MetaKeyIIFNAME, expr.CmpOpEq, prefix) }
func to(prefix string) match   { return named(expr.MetaKeyOIFNAME, expr.CmpOpEq, prefix) }

func family(proto byte) match {
	return match{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: reg}, &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte{proto}}}
}

// unrouted matches packets whose source would not be answered by the link that
// they came from: it is not the sandbox's address. No address of IPv6 is.
func unrouted() match {
	return match{
		&expr.Fib{Register: reg, FlagSADDR: true, FlagIIF: true, ResultOIF: true},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: make([]byte, 4)},
	}
}

// answers matches what belongs to a connection that was let through before; with
// CmpOpEq what does not.
func answers(op expr.CmpOp) match {
	const states = expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED
	return match{
		&expr.Ct{Key: expr.CtKeySTATE, Register: reg},
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(states), Xor: make([]byte, 4)},
		&expr.Cmp{Op: op, Register: reg, Data: make([]byte, 4)},
	}
}

func protocol(n byte) match {
	return match{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg}, &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte{n}}}
}

// port matches a destination port of TCP or UDP.
func port(proto byte, n uint16) match {
	return slices.Concat(protocol(proto), match{
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: binary.BigEndian.AppendUint16(nil, n)},
	})
}

// users matches packets of sockets that a user of the range has made.
func users(first, count uint32) match {
	return match{
		&expr.Meta{Key: expr.MetaKeySKUID, Register: reg},
		// Numbers are compared byte by byte.
		&expr.Byteorder{SourceRegister: reg, DestRegister: reg, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Range{Op: expr.CmpOpEq, Register: reg, FromData: binaryutil.BigEndian.PutUint32(first), ToData: binaryutil.BigEndian.PutUint32(first + count - 1)},
	}
}

// opening matches the first packet of a connection by TCP.
func opening() match {
	const syn, ack = 0x02, 0x10
	return slices.Concat(protocol(unix.IPPROTO_TCP), match{
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseTransportHeader, Offset: 13, Len: 1},
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 1, Mask: []byte{syn | ack}, Xor: []byte{0}},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: []byte{syn}},
	})
}

// source matches packets from a range of IPv4.
func source(r netip.Prefix) match {
	mask := binaryutil.BigEndian.PutUint32(^uint32(0) << (32 - r.Bits()))
	return slices.Concat(family(unix.NFPROTO_IPV4), match{
		&expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: 12, Len: 4},
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: r.Masked().Addr().AsSlice()},
	})
}

// destination matches packets to the addresses of a set.
func destination(s *nftables.Set) match {
	proto, load := byte(unix.NFPROTO_IPV4), expr.Payload{DestRegister: reg, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4}
	if s.KeyType.Bytes == 16 {
		proto, load.Offset, load.Len = unix.NFPROTO_IPV6, 24, 16
	}
	return slices.Concat(family(proto), match{&load, &expr.Lookup{SourceRegister: reg, SetName: s.Name, SetID: s.ID}})
}

func verdict(kind expr.VerdictKind, chain string) match {
	return match{&expr.Verdict{Kind: kind, Chain: chain}}
}

var (
	accept = verdict(expr.VerdictAccept, "")
	drop   = verdict(expr.VerdictDrop, "")
	// The word that a connection of TCP hears at once; other words are not heard
	// while it is being opened, and it tries again for a second.
	reset      = match{&expr.Reject{Type: unix.NFT_REJECT_TCP_RST}}
	prohibited = match{&expr.Reject{Type: unix.NFT_REJECT_ICMPX_UNREACH, Code: unix.NFT_REJECT_ICMPX_ADMIN_PROHIBITED}}
)

func jump(chain string) match { return verdict(expr.VerdictJump, chain) }

// elements are the bounds of networks in a set of intervals.
func elements(nets []netip.Prefix) []nftables.SetElement {
	var out []nftables.SetElement
	for _, n := range nets {
		out = append(out,
			nftables.SetElement{Key: n.Addr().AsSlice()},
			nftables.SetElement{Key: last(n).Next().AsSlice(), IntervalEnd: true})
	}
	return out
}

// last is the last address of a network.
func last(n netip.Prefix) netip.Addr {
	b := n.Addr().AsSlice()
	for bit := n.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
