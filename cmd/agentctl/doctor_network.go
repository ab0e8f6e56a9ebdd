package main

import (
	"agentctl/runtime"
)

// sandboxNetworks tells what of the networks of sandboxes is not to be had here.
func sandboxNetworks(found runtime.Host) check {
	const name = "sandbox networks"
	if found.UID != 0 {
		return ok(name, "host and none; private networks, and keeping tasks in the host's network off metadata addresses, need an agent that is root")
	}
	if err := runtime.PrivateNetworks(); err != nil {
		return warn(name, "load the kernel's modules veth and nf_tables, or take network: host or none", "host and none, no private ones: %v", err)
	}
	if err := runtime.AbstractSockets(); err != nil {
		return warn(name, "take network: private or none where tasks must not reach daemons of the host", "host, private and none; tasks in the host's network reach its abstract unix sockets: %v", err)
	}
	return ok(name, "host, private and none")
}
