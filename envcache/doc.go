// Package envcache owns Python environments by content key: it finds
// interpreters, builds an environment once at its final path, leases it to
// tasks and collects what is old.
//
// It must not know node.yaml, ClearML, tasks or how a task is isolated. What it
// runs, it runs through Exec, which the caller hands in: the host, or later a
// sandbox.
//
// # Life of an environment
//
// A Request becomes a list of Parts, the parts become a key of 32 hex digits,
// and the environment's one and only path is STATE/envs/KEY. What the request is
// resolved to, its Lock, makes a second key. The build of a request ends as soon
// as its lock is known if another environment has the same lock: KEY.alias leads
// there from then on. Else the environment is built in the order of Go's module
// cache: exclusive lock of the key, look again, sweep what a dead builder left,
// marker KEY.partial, build, manifest, entry record, marker away. So an environment
// is whole if its record is there and its marker is not, and that is all that a hit
// looks at. Nobody waits for the disk: see unclean starts.
//
// Only a lock of wheels is such a second key: a package that is built from source
// runs its author's code, which could have written anything into the environment
// and into the report of what it is. The manager says that it starts such code
// before it does so; from then on the report is not believed (site.foreign). Conda's
// packages may run code as well, but which they are is settled before, and the lock
// names them.
//
// # Unclean starts
//
// A process that dies leaves the kernel's files whole; a machine that goes down may
// not. Whoever opens the cache holds STATE/envs/.open, and the last one to close it
// brings all to the disk and marks STATE/envs/.boot. A first user that finds the mark of another uptime puts
// every environment in doubt: its record is called KEY.doubt until all its files were
// compared with the manifest, by Recheck or by the first who asks for it. A hit pays
// nothing for that.
//
// # Locks
//
// One flock per key, STATE/envs/KEY.lock. A builder and the collector hold it
// exclusively, a lease is a shared hold on it. The descriptor of a lease may be
// handed to a child, which then keeps the lease after this process is gone. A
// builder hands its exclusive hold to the package manager it runs, so that no
// second builder starts while a first one, orphaned by a crash, still writes.
//
// # In the background
//
// Work in a context of Background is for a task that has not come yet. Its programs
// are idle work to the kernel, in a session of their own, and what this process does
// itself has a pace. A request in the foreground that waits for it, for the same key,
// the same lock, a tool or a mirror, lifts that: both meet on a board (package
// urgency), within one process. Builds of other processes are waited for as they are.
//
// # On disk
//
//	STATE/envs/KEY/            the environment, owned by the user of its tasks
//	STATE/envs/KEY.json        what it is: parts of the key, packages, size
//	STATE/envs/KEY.manifest    every file with its size, times and digest
//	STATE/envs/KEY.lock        the lock; its time of change is the last use
//	STATE/envs/KEY.partial     a build or a removal is under way
//	STATE/envs/KEY.age         since when an unpinned list counts as resolved
//	STATE/envs/KEY.alias       from what was asked for, or from a lock, to its environment
//	STATE/envs/KEY.doubt       the record of an environment that is to be checked first
//	STATE/envs/KEY.dirty       found changed: not leased any more
//	STATE/envs/.settle-KEY     held while what a lock says is being built
//	STATE/envs/.examine-KEY    held while an environment is being checked
//	STATE/envs/.guard          held while ages and aliases are written or removed
//	STATE/envs/.open, .boot    who uses the cache, and since which start of the machine
//	STATE/envs/.work-KEY-…/    home and scratch of one build
//	STATE/envs/.trash-…/       on its way out
//	STATE/tools/pip-VERSION/   the private pip, in each version that was asked for
//	STATE/tools/NAME-VERSION-…/  another private manager, in an environment of its own
//	STATE/tools/interpreters.json
//	STATE/tools/conda-client-….py, conda-virtual-….json
//	STATE/pythons/NAME/        an interpreter that uv installed; whole if .whole-NAME is there
//	STATE/cache/pip-UID/       downloads and wheels of one user
//	STATE/cache/wheels-UID/    the same by digest, for locks; the agent's
//	STATE/cache/conda-UID/     packages/, each unpacked; repodata/
//	STATE/cache/uv-UID/        uv's own cache, wheels unpacked
package envcache
