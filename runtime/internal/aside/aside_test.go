package aside

import (
	"errors"
	"os"
	goruntime "runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

const spoilt = "spoilt"

// Whichever thread the scheduler takes, it is not the first, and neither it nor a
// thread that it began is had again.
func TestThreadsDoNotComeBack(t *testing.T) {
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			err := Do(func() error {
				if unix.Gettid() == unix.Getpid() {
					return errors.New("it is the first thread")
				}
				return os.WriteFile("/proc/thread-self/comm", []byte(spoilt), 0)
			})
			if err != nil {
				t.Error(err)
			}
		})
		all.Go(func() {
			goruntime.LockOSThread() // for the file, opened and read, to be of one thread
			defer goruntime.UnlockOSThread()
			name, err := os.ReadFile("/proc/thread-self/comm")
			if err != nil || strings.TrimSpace(string(name)) == spoilt {
				t.Errorf("on %q, %v", name, err)
			}
		})
	}
	all.Wait()
}
