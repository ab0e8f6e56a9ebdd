package main

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Things that are measured, besides what a contender calls its hits.
const (
	cold = "cold"
	warm = "warm"
)

// sample is what one thing cost.
type sample struct {
	wall, cpu time.Duration
	written   int64 // bytes that this process and its children gave to the disk
}

// timed runs f and tells what it cost. CPU time and bytes are those of this
// process and of all children that it has waited for, and theirs.
func timed(f func() error) (sample, error) {
	cpu, written, began := cpuTime(), bytesWritten(), time.Now()
	err := f()
	return sample{time.Since(began), cpuTime() - cpu, bytesWritten() - written}, err
}

func cpuTime() (sum time.Duration) {
	for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
		var use syscall.Rusage
		if syscall.Getrusage(who, &use) == nil {
			sum += time.Duration(use.Utime.Nano() + use.Stime.Nano())
		}
	}
	return sum
}

// bytesWritten of this process and of the children it waited for; 0 where the
// kernel does not tell.
func bytesWritten() int64 {
	data, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(data)) {
		if v, ok := strings.CutPrefix(line, "wchar: "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			return n
		}
	}
	return 0
}
