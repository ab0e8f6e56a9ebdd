// Package aside owns threads that are spoilt for all other work: what is done on one
// of them may change its namespaces or its user, since it ends after it.
package aside

import (
	"fmt"
	"os"
	goruntime "runtime"

	"golang.org/x/sys/unix"
)

// Do runs do on a thread that ends after it. One that could not be brought back
// would make sockets in the wrong network for the rest of the process.
func Do(do func() error) error {
	done := make(chan error, 1)
	go func() {
		goruntime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			done <- do() // not unlocked
			return
		}
		// The first thread can't end, and its network is what others see as that of
		// the process, in /proc. Occupied, it is not had a second time.
		defer goruntime.UnlockOSThread()
		done <- Do(do)
	}()
	return <-done
}

// InNetwork runs do on a thread in the network namespace ns. It needs root's rights
// over the namespace.
func InNetwork(ns *os.File, do func() error) error {
	return Do(func() error {
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("cannot enter a network: %w", err)
		}
		return do()
	})
}
