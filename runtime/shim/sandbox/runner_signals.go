package sandbox

import (
	"os"
	"os/signal"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// shieldFromSignals keeps what the task sends to its process 1 from ending it. An
// init gets only signals that it has handlers for, so the default is best, which
// children inherit too. The Go runtime has handlers for all: taking them over by
// signal.Notify costs a change of threads for each, a millisecond in all.
func shieldFromSignals() {
	var byDefault [4]uintptr // struct kernel_sigaction of SIG_DFL, flags and mask empty
	for _, sig := range []syscall.Signal{
		unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTRAP, unix.SIGABRT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGPIPE,
		unix.SIGALRM, unix.SIGTERM, unix.SIGSTKFLT, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGXCPU, unix.SIGXFSZ,
		unix.SIGVTALRM, unix.SIGIO, unix.SIGPWR, unix.SIGSYS,
	} {
		_, _, _ = unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(sig), uintptr(unsafe.Pointer(&byDefault)), 0, 8, 0, 0)
	}
	// The runtime needs its own for these, of its own doing; those that are sent are
	// for nobody.
	signal.Notify(make(chan os.Signal, 1), unix.SIGSEGV, unix.SIGBUS, unix.SIGFPE, unix.SIGILL)
}
