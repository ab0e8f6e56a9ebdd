// Package relay owns the way from a task without the host's network to its server.
//
//	plan      from the URLs that the task has: at which of its own addresses each
//	          server is to be found, and what its /etc/hosts must say
//	Inside    the runner, process 1 of the sandbox, listens there before the task
//	          starts, hands the listening sockets to the shim, and has no part in
//	          the rest
//	Outside   the shim accepts, connects to the one server that belongs to the
//	          socket, and copies both ways
//
// A listening socket belongs to the network in which it was made, whoever accepts
// from it: nothing of a connection passes through the sandbox's processes, and what
// they can ask for is a connection to one of the plan's servers and nothing else.
// Names are looked up outside, at each connection.
//
// The task keeps its URLs, so that certificates fit: the server's name leads to a
// loopback address of the sandbox at the server's own port. A server that is known
// by its address has that address on the sandbox's loopback device.
package relay
