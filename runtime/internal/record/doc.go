// Package record owns what stands in a run's folder: the files by which the
// agent and the shim speak to each other, and their types.
//
//	run.json     the agent's order, written before the shim is started
//	lock         flocked by the shim, on a descriptor that the agent locked and
//	             handed down, for as long as it lives
//	handle.json  what the shim is, written before it starts the task
//	console      the task's output and the agent's lines, in frames
//	stop.json    the agent's wish to stop the task, followed by a SIGTERM
//	exit.json    how the task ended; the last file to appear
//	shim.log     the shim's own standard error, empty unless it broke
//
// Every file is written whole and renamed into place, except console and
// shim.log, which only grow. The package is imported by the shim, which must
// start fast: it must not import anything heavy.
package record
