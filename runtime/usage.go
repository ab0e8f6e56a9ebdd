package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"agentctl/runtime/internal/contain"
)

// Usage is what a running task uses.
type Usage struct {
	// Memory is in bytes, of caches too where a cgroup counts it, and of programs'
	// own memory where only the processes can be asked (Exact is false then).
	Memory int64         `json:"memory"`
	CPU    time.Duration `json:"cpu"` // since its start
	PIDs   int           `json:"pids"`
	// Peak is the most memory that it had, and Limit what it may have, in bytes; 0 where
	// that can't be told, and where there is none.
	Peak  int64 `json:"peak,omitempty"`
	Limit int64 `json:"limit,omitempty"`
	Exact bool  `json:"exact"`
}

// Usage looks at what the task uses now.
func (t *Task) Usage() (Usage, error) {
	u, err := groupUsage(t.handle.Groups)
	if errors.Is(err, fs.ErrNotExist) {
		u, err = treeUsage(t.handle.PID)
	}
	if err != nil {
		return Usage{}, fmt.Errorf("cannot tell what task %s uses: %w", t.handle.ID, err)
	}
	return u, nil
}

// groupUsage reads the files of cgroup v2, or of v1's controllers.
func groupUsage(groups map[string]string) (u Usage, err error) {
	memory, memoryOK := groups["memory"]
	if !memoryOK {
		dir, ok := groups[""]
		if !ok {
			return u, fs.ErrNotExist
		}
		return group2Usage(dir)
	}
	usage, err1 := readNumber(memory, "memory.usage_in_bytes")
	cpu, err2 := readNumber(groups["cpuacct"], "cpuacct.usage")
	pids, err3 := readNumber(groups["pids"], "pids.current")
	u = Usage{Memory: usage, CPU: time.Duration(cpu), PIDs: int(pids), Exact: true}
	u.Peak, u.Limit = optional(memory, "memory.max_usage_in_bytes"), optional(memory, "memory.limit_in_bytes")
	return u, errors.Join(err1, err2, err3)
}

func group2Usage(dir string) (Usage, error) {
	memory, err1 := readNumber(dir, "memory.current")
	pids, err2 := readNumber(dir, "pids.current")
	stat, err3 := os.ReadFile(filepath.Join(dir, "cpu.stat"))
	u := Usage{Memory: memory, PIDs: int(pids), Exact: true, Peak: optional(dir, "memory.peak"), Limit: optional(dir, "memory.max")}
	for line := range strings.Lines(string(stat)) {
		if value, ok := strings.CutPrefix(line, "usage_usec "); ok {
			us, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			u.CPU, err3 = time.Duration(us)*time.Microsecond, errors.Join(err3, err)
		}
	}
	return u, errors.Join(err1, err2, err3)
}

// unlimited is where the numbers begin by which cgroup v1 says that there is no limit.
const unlimited = 1 << 60

// optional is a number of a cgroup that older kernels don't have, or that says max.
func optional(dir, file string) int64 {
	n, err := readNumber(dir, file)
	if err != nil || n >= unlimited {
		return 0
	}
	return n
}

func readNumber(dir, file string) (int64, error) {
	if dir == "" {
		return 0, fs.ErrNotExist
	}
	data, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64)
}

// treeUsage adds up what the living processes below the shim say. What has ended
// is not in it.
func treeUsage(shim int) (u Usage, err error) {
	pids, err := contain.Descendants(shim)
	if err != nil {
		return u, err
	}
	for _, pid := range pids {
		memory, cpu, err := contain.ProcessUsage(pid)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has ended meanwhile
		}
		if err != nil {
			return u, err
		}
		u.Memory, u.CPU, u.PIDs = u.Memory+memory, u.CPU+cpu, u.PIDs+1
	}
	return u, nil
}
