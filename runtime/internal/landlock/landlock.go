// Package landlock tells whether a process and what it starts can be kept from the
// abstract unix sockets of others: in the network of the host they are reached by name
// alone, without a file whose mode could hold a task off, and daemons listen on them
// (CVE-2020-15257). The runner does it.
//
// It must not know of sandboxes.
package landlock

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// scopes is the first version of Landlock that has scopes (Linux 6.12).
const scopes = 6

const version = 1 // LANDLOCK_CREATE_RULESET_VERSION

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
