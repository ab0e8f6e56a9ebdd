// Package worker owns the life of a task on this node: it looks at the queues
// for all workers at once, leases a task, prepares its environment and code,
// runs it under a shim, watches it and reports its end. After a restart of the
// agent it re-attaches to what still runs.
//
//	            ┌──────────────────────── Pool ───────────────────────┐
//	reconcile ─►│ workers (desired)   dispatch ─► run ─► run ─► …     │
//	            │ one look at all queues  │        │ one goroutine    │
//	            │ heartbeat, look-ahead   ▼        ▼ per task         │
//	            └───────────────── STATE/tasks/ID ────────────────────┘
//
// A task's record is written before each effect, so that a kill at any step
// finds a record that says what to finish (see Phase). The package translates
// spec and the ClearML task into the small configurations of runtime, envcache
// and repo; those know neither. It must not decide which workers there are:
// that is reconcile's plan.
package worker
