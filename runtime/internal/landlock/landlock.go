// Package landlock keeps a process and what it starts from the abstract unix sockets
// of others: in the network of the host they are reached by name alone, without a file
// whose mode could hold a task off, and daemons listen on them (CVE-2020-15257).
//
// It owns the system calls of Landlock that this needs, and must not know of sandboxes.
package landlock

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// scopes is the first version of Landlock that has scopes (Linux 6.12).
const scopes = 6

const (
	version        = 1      // LANDLOCK_CREATE_RULESET_VERSION
	scopedAbstract = 1 << 0 // LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
)

// ruleset is struct landlock_ruleset_attr.
type ruleset struct {
	fs, net, scoped uint64
}

// Available tells why the kernel can't scope abstract sockets; nil if it can.
func Available() error {
	abi, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, version)
	switch {
	case errno != 0:
		return fmt.Errorf("this kernel has no Landlock: %w", errno)
	case abi < scopes:
		return fmt.Errorf("this kernel has version %d of Landlock, and scopes need %d (Linux 6.12)", abi, scopes)
	}
	return nil
}

// Scope keeps the calling thread, and the processes that it starts from now on, from
// abstract sockets that others made. It needs no_new_privs. Sockets of their own work on.
func Scope() error {
	attr := ruleset{scoped: scopedAbstract}
	fd, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return fmt.Errorf("cannot scope abstract sockets: %w", errno)
	}
	_, _, errno = unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0)
	_ = unix.Close(int(fd))
	if errno != 0 {
		return fmt.Errorf("cannot scope abstract sockets: %w", errno)
	}
	return nil
}
