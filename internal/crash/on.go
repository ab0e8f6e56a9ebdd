//go:build crashpoints

package crash

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

var passes atomic.Int64

// Point kills this process when AGENTCTL_CRASH_AT asks for it at name.
func Point(name string) {
	want, nth, _ := strings.Cut(os.Getenv("AGENTCTL_CRASH_AT"), "#")
	if want != name {
		return
	}
	n, err := strconv.ParseInt(nth, 10, 64)
	if err != nil {
		n = 1
	}
	if passes.Add(1) != n {
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}
