// Package sandbox owns a sandbox as the shim makes it: its root file system, its
// namespaces and limits, and the runner that is its process 1. It is the only
// importer of libcontainer, and nothing of libcontainer's is kept on disk or
// shown to others: its interface and its state change between releases.
//
//	stage    a root is put together on a tmpfs in the shim's own mount namespace,
//	         which is seen by nobody else and goes with the shim, however it dies
//	create   libcontainer runs the runner, this same program read-only, confined
//	         as the task will be; it is in C and runs before the Go runtime would
//	late     environment, checkout and task folder are mounted detached and moved
//	         into the sandbox, which may have been made before they were known
//	start    argv, environment and standard streams go to the runner by a socket
//
// The runner dies with the shim, by the kernel's parent-death signal and by the
// end of its socket, and all of the sandbox with it: it is the init of the PID
// namespace. Only cgroups outlive a shim that was killed.
package sandbox
