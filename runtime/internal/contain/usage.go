package contain

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// userHZ is the unit of times in /proc, the same on all Linux machines that Go
// runs on.
const userHZ = 100

// ProcessUsage is the memory that a process holds, in bytes, and the CPU time it
// has used. It fails with fs.ErrNotExist when the process is gone.
func ProcessUsage(pid int) (memory int64, cpu time.Duration, err error) {
	dir := "/proc/" + strconv.Itoa(pid)
	statm, err := os.ReadFile(dir + "/statm")
	stat, err2 := os.ReadFile(dir + "/stat")
	if err = errors.Join(err, err2); err != nil {
		if errors.Is(err, syscall.ESRCH) {
			err = fs.ErrNotExist
		}
		return 0, 0, err
	}
	pages := strings.Fields(string(statm))
	times := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(pages) < 2 || len(times) < 13 {
		return 0, 0, fmt.Errorf("cannot read what process %d uses", pid)
	}
	resident, err := strconv.ParseInt(pages[1], 10, 64)
	user, err2 := strconv.ParseInt(times[11], 10, 64)
	system, err3 := strconv.ParseInt(times[12], 10, 64)
	return resident * int64(os.Getpagesize()), time.Duration(user+system) * time.Second / userHZ, errors.Join(err, err2, err3)
}
