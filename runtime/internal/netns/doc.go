// Package netns owns the network of one sandbox: what makes a network namespace
// that knows only its loopback device into one with a way out, and what takes that
// away again.
//
//	Choose    a range of private addresses that the host has no other use for
//	Connect   a veth pair: eth0 inside, agcTAG-N on the host, two addresses of the
//	          range between them, a default route inside
//	Remove    both ends, by the sandbox's id
//	Sweep     the same, for all whose sandbox does not live
//
// Nothing is recorded: the name of the host's end says whose it is (the tag of an
// agent) and which addresses it has (N), its alias says for which sandbox. The
// namespace is the sandbox's own, held by its processes alone, so the kernel removes
// the pair when they are gone, however they went; Sweep is for what hangs on longer.
// A namespace of the sandbox's user namespace is also what lets it have a /sys of
// its own and, where it is allowed, CAP_NET_ADMIN over nothing else. That it can
// then write any source address is why package firewall, not the far end, keeps it
// to its own.
//
// Inside there is IPv4 only, and ::1. What may pass is package firewall's; the two
// are apart because the shim needs this one and must stay small.
//
// All functions act on the network namespace of the calling thread as the host's.
package netns
