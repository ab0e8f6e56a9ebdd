// Package shim owns what the process does that holds one task: make its view of
// the file system and its containment, start it, write its console, keep its
// time limits, end all of it, and record how it ended.
//
// The order of its steps, each named as a crash point, is what lets the next
// agent tell what happened when the shim dies between two of them:
//
//	handle.json   what is made from here on can be found and swept
//	cgroup, mounts, upper folders
//	the task      told by its parent-death signal to die with the shim
//	exit.json     only when nothing of the task is left
//
// One goroutine, on a locked OS thread, makes the mounts, forks the task and
// reaps: the namespace and the parent-death signal belong to the thread.
//
// The shim must start within milliseconds and outlive the agent, so the package
// imports little and knows nothing of the agent.
package shim
