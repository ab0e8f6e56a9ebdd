// Package firewall owns what packets of sandboxes may pass, by one nftables table
// of ours for each agent: inet agentctl_TAG. It never touches another's.
//
// Of a sandbox in a private network (its link's name begins with agcTAG-):
//
//	forward   from addresses that are not its own, or to link-local and metadata
//	          addresses: refused. In comes only what it asked for, so other sandboxes,
//	          of any agent, don't reach it either.
//	input     the host's own services: refused, but for name servers and Ports
//	nat       it leaves with the host's address
//
// Of a task in the host's network, known by its user (tasks have a range of users
// of their own; that works with cgroups of either version, and with none):
//
//	output    to link-local and metadata addresses: refused
//
// Name servers are reached at port 53 wherever they are: in some clouds they have
// the metadata address. The rules name links by the beginning of their names and
// hold no state of single sandboxes, so nothing of them is left behind by one that
// died. They stay when the agent ends, since sandboxes outlive it.
//
// A verdict of another table can be more than ours: a host whose firewall drops
// what it forwards (Docker makes it so) drops what sandboxes send (Obstacles).
package firewall
