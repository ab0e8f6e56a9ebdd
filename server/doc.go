// Package server owns the embedded ClearML-compatible server: the REST protocol
// over SQLite, a file server for artifacts, and a page per task.
//
// It must not know node.yaml, the agent, or how a task runs: it is one more
// ClearML server to all of them. Its extensions of the protocol are optional
// request fields whose names begin with agentctl_ and the endpoint
// auth.task_token; a client that does not know them misses nothing.
//
// # Store
//
// All writes go through one goroutine, which has the one connection that may
// write. Requests that wait together share a transaction, with a savepoint each,
// and are answered after its commit (WAL, synchronous=FULL): what was
// acknowledged survives a kill and a power cut. Readers have connections of
// their own and never wait for a writer.
//
// # Waiting
//
// A commit tells the notifier which queues and tasks it changed. A read that
// asks to wait is held until one of the things it asked for is among them.
//
// # On disk
//
//	DIR/server.db         tasks, queues, events (and -wal, -shm beside it)
//	DIR/files/            what was uploaded to the file server
//	DIR/credentials.json  the operator's access key and secret key
//	DIR/token.key         what tokens are signed with
//	DIR/endpoint.json     the addresses and the pid of the running server
//	DIR/lock              held while the server runs
package server
