package main

import (
	"os"

	"agentctl/runtime"
)

// networking is what a host can do for the networks of sandboxes; what is nil works.
type networking struct {
	root                      bool
	metadata, private, socket error
	links                     string   // how those of private networks begin
	walls                     []string // chains of the host that drop what it forwards
}

func (a *app) networks() []check {
	n := networking{
		root: os.Geteuid() == 0, metadata: runtime.MetadataFilter(), private: runtime.PrivateNetworks(),
		socket: runtime.AbstractSockets(), links: runtime.PrivateLinks(a.state),
	}
	if n.private == nil {
		n.walls, n.private = runtime.Obstacles(a.state)
	}
	return n.checks()
}

func (n networking) checks() []check {
	return []check{n.privates(), n.metadatas(), n.sockets()}
}

func (n networking) privates() check {
	const name = "private networks"
	switch {
	case n.private != nil && !n.root:
		return ok(name, "none: %v", n.private)
	case n.private != nil:
		return warn(name, "give the agent CAP_NET_ADMIN and CAP_SYS_ADMIN, and the kernel veth and nf_tables with NAT (modprobe -a veth nf_tables nft_masq)", "%v", n.private)
	case len(n.walls) > 0:
		return warn(name, "accept the links "+n.links+"* there, both ways", "they may have no way out: the host's own packet filter drops what it forwards (%s)", joined(n.walls))
	}
	return ok(name, "by veth and nftables; the host forwards packets once there is one (net.ipv4.ip_forward)")
}

func (n networking) metadatas() check {
	const name, fix = "metadata addresses", "give the agent CAP_NET_ADMIN, and the kernel nf_tables (modprobe nf_tables); until then take sandbox.network: none where the machine has such an address"
	switch {
	case n.metadata != nil && !n.root:
		return warn(name, "run the agent as root, or take sandbox.network: none where the machine has such an address", "tasks in the network of the host reach them: %v", n.metadata)
	case n.metadata != nil:
		return warn(name, fix, "tasks in the network of the host reach them: %v", n.metadata)
	}
	return ok(name, "refused to tasks in sandboxes, unless sandbox.metadata is true")
}

func (n networking) sockets() check {
	const name = "abstract sockets"
	if n.socket != nil {
		return warn(name, "take Linux 6.12 or newer, with landlock among its security modules (lsm=landlock,… at boot), or sandbox.network: private or none",
			"tasks in the network of the host reach those of its services: %v", n.socket)
	}
	return ok(name, "those of the host are out of reach of sandboxes, by Landlock")
}
