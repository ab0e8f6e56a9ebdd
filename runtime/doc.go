// Package runtime owns the isolation of one run as values: what is to be run
// (Config), by which means (Host), what runs (Task) and how it ended (Exit).
//
// A run belongs to a shim, a small process of its own session that outlives the
// agent. Agent and shim speak by the files of the run's folder, an flock,
// signals and pidfds, so that any two versions fit:
//
//	Start    the agent writes run.json, locks `lock` and hands the locked
//	         descriptor to the shim: from before the shim exists until it dies
//	         the lock is held, so nobody can start the run twice
//	handle   the shim writes handle.json, and only then starts the task
//	Attach   exit.json → ended; the lock is held → lives; a handle alone → lost:
//	         what is left of the task is swept and exit.json is written
//	end      exit.json is the truth; pidfds and pipes only tell when to look
//
// The package knows neither node.yaml nor ClearML nor Python. What the shim does
// is in runtime/shim; the records are in runtime/internal/record.
package runtime
