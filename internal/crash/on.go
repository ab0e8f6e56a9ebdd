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
	trace(name)
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

// trace notes the name in the file that AGENTCTL_CRASH_TRACE names, so that a
// test can list the steps on a way, those too whose names are put together.
func trace(name string) {
	path := os.Getenv("AGENTCTL_CRASH_TRACE")
	if path == "" {
		return
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	defer file.Close()
	_, _ = file.WriteString(name + "\n")
}
