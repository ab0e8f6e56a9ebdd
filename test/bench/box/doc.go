// Package box measures sandboxes beside what else runs a command in one, on this
// machine and in one run, turn and turn about, because only ratios travel between
// machines. `just bench-sandbox` runs it and prints one table.
//
// Who takes part: agentctl, cold and made ahead; runc and crun with one and the same
// config.json, which asks for what a sandbox of agentctl is (user namespace, masks,
// no capabilities, the usual filter of system calls for this architecture); bubblewrap
// with the namespaces; podman and docker as their users start them, with the host's
// network (podman with ulimits that need no right); and the floor, a C program that does nothing but clone3, an overlay,
// pivot_root and exec. What lacks is installed by apt for root, else left out.
// dockerd is the bench's own, with folders of its own, and so are podman's.
//
// What is measured: from the call that starts it to the first byte that the command
// writes, and to the end as the caller learns it. agentctl is called as the agent
// calls it, by the function; the others by executing their program. All use the same
// image, unpacked before: agentctl, podman and docker put an overlay of its layers
// together each time, the others get a plain folder, which is to their favour.
// "Ahead" has its sandbox made before the clock runs.
//
// Memory is the proportional share (PSS) of all processes that a sandbox keeps, but
// for the command itself: a client that waits counts, a daemon is told apart. What
// the kernel keeps is in no process: with many sandboxes the loss of available
// memory is printed too; on a busy machine it is noise.
//
// Many at once is the time from the first start until the last has said something.
// Podman is left out of it: Debian's waits for ever for its locks.
//
// The run has a mount namespace of its own, for root. Where a host of cgroup v1 has
// controllers in v2 too, which crun refuses, none takes part of v2 in it.
package box
