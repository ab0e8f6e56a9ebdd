// Package reconcile owns the desired state of the node: which spec is accepted,
// what differs from what runs, and what to do about it.
//
//	SpecUpdate ────► Loop ── desired ─┐
//	                                  ├─► Compute ─► Plan ─► Runner.Apply
//	Runner.Changed ─► Runner.Observe ─┘                └───► Snapshot ─► readers
//
// Compute is pure: the same desired and observed state at the same time give the
// same plan, which is what `plan` prints, the log says and the status shows. Loop
// is the one goroutine that owns desired state, generation and retries. An event
// is only a hint to look again, so a lost or doubled one does no harm; actions
// never block it; what belongs to an older spec is dropped.
//
// A spec that is missing, empty or invalid changes the condition SpecAccepted and
// nothing else: absence is never "stop everything". After a start the last good
// spec holds, and nothing is stopped for not being in it before the source was
// read once.
//
// The package imports only spec. It must not know how a worker runs a task, where
// a spec is kept or read from, or who reads the Snapshot.
package reconcile
