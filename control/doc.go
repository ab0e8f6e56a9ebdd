// Package control owns the agent's local API: HTTP with JSON over a unix socket
// that only the agent's user (and root) may open, its client, and the metrics.
//
//	GET  /v1/agent         who answers: version, process, folders, source of the spec
//	GET  /v1/status        the snapshot
//	GET  /v1/watch         a snapshot per line, the present one first
//	POST /v1/plan          what a spec would change
//	POST /v1/apply         take a spec over
//	POST /v1/order         let workers take no further task, or take them again
//	POST /v1/stop          stop a task
//	POST /v1/execute       run a task now
//	POST /v1/build         make what a task needs
//	GET  /v1/logs          a task's console, a frame per line
//	GET  /v1/usage         what the running tasks use
//	POST /v1/audit         what tasks can reach
//	GET  /v1/environments  what is in the environment cache
//	GET  /v1/gpus          GPUs, what they do, and who has them
//	GET  /v1/contributions workers that commands have added
//	POST /v1/contribute    add some; /v1/withdraw takes them away
//	GET  /v1/history       the accepted specs
//	GET  /v1/revision      the text of one
//	GET  /v1/blame         what set each field
//	POST /v1/suspend       don't follow the source; /v1/resume follows it again
//	POST /v1/rollback      make an earlier revision the spec
//	POST /v1/confirm       keep a spec that is tried
//	POST /v1/reload        read the source of the spec again
//	POST /v1/fetch         tell what a repository holds, and change nothing
//	POST /v1/shutdown      end the agent; tasks go on
//	GET  /healthz /readyz /metrics
//
// What is read comes from the reconciler's immutable Snapshot, so that no reader
// can hold a worker up. What is ordered goes through small interfaces (Config),
// which the program wires. The package must not know how a worker runs a task,
// where a spec is kept or what a console file looks like.
//
// Paths carry the version of the API. Fields may be added within a version; a
// client ignores what it does not know.
package control
