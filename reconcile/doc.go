// Package reconcile owns the desired state of the node: which spec is accepted,
// what differs from what runs, and what to do about it.
//
//	spec update ─► Loop ── desired ─┐
//	                                ├─► Compute ─► Plan ─► Runner.Apply
//	Runner.Changed ─► Observe ──────┘
//
// Compute is pure: the same desired and observed state give the same plan, which
// is what `plan` prints, the log says and the status shows. Loop is the one
// goroutine that owns desired state and generation; an event is only a hint to
// look again, so a lost or doubled one does no harm. A spec that is missing,
// empty or invalid changes the condition SpecAccepted and nothing else: absence
// is never "stop everything".
//
// The package imports only spec. It must not know how a worker runs a task,
// where a spec is read from, or who reads the Snapshot.
package reconcile
