// Package relay owns the way from a task without the host's network to its server.
//
//	New       a plan, from the URLs that the task has: at which of its own addresses each
//	          server is to be found, and what its /etc/hosts must say
//	Listen    a thread of the shim goes into the sandbox's network and listens there,
//	          before the task starts
//	Serve     the shim accepts, connects to the one server that belongs to the
//	          listener, and copies both ways
//
// A socket belongs to the network in which it was made, whichever thread uses it
// later. So no process of the sandbox has a part in it, and what a task can have is
// a connection to one of the plan's servers and nothing else. Names are looked up
// outside, at each connection.
//
// The task keeps its URLs, so that certificates fit: the server's name leads to a
// loopback address of the sandbox at the server's own port. A server that is known
// by its address has that address on the sandbox's loopback device.
package relay
