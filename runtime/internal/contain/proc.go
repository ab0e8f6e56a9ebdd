package contain

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// BootID is the kernel's name of this boot.
func BootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("cannot tell the boot: %w", err)
	}
	return string(bytes.TrimSpace(data)), nil
}

// Stat is what /proc/PID/stat tells of a process.
type Stat struct {
	PID, Parent int
	// Start is the process's start in clock ticks since boot.
	Start uint64
	// Dead is true for a zombie: it runs no more and can't be killed.
	Dead bool
}

// ReadStat looks at process pid.
func ReadStat(pid int) (Stat, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Stat{}, fmt.Errorf("cannot look at process %d: %w", pid, err)
	}
	return parseStat(pid, string(data))
}

// parseStat skips the command's name, which may hold anything, by its last ")".
func parseStat(pid int, line string) (Stat, error) {
	f := strings.Fields(line[strings.LastIndexByte(line, ')')+1:])
	if len(f) < 20 {
		return Stat{}, fmt.Errorf("cannot look at process %d: its stat has %d fields", pid, len(f))
	}
	parent, err := strconv.Atoi(f[1])
	start, err2 := strconv.ParseUint(f[19], 10, 64)
	if err := errors.Join(err, err2); err != nil {
		return Stat{}, fmt.Errorf("cannot look at process %d: %w", pid, err)
	}
	return Stat{PID: pid, Parent: parent, Start: start, Dead: f[0] == "Z" || f[0] == "X"}, nil
}

// Processes lists what /proc shows; a process that ends meanwhile may be left out.
func Processes() ([]Stat, error) {
	d, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("cannot list the processes: %w", err)
	}
	names, err := d.Readdirnames(-1)
	_ = d.Close()
	if err != nil {
		return nil, fmt.Errorf("cannot list the processes: %w", err)
	}
	var all []Stat
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		if st, err := ReadStat(pid); err == nil {
			all = append(all, st)
		}
	}
	return all, nil
}

// Descendants lists the living processes below process root, parents first.
func Descendants(root int) ([]int, error) {
	all, err := Processes()
	if err != nil {
		return nil, err
	}
	children := map[int][]Stat{}
	for _, st := range all {
		children[st.Parent] = append(children[st.Parent], st)
	}
	var found []int
	queue := []int{root}
	for len(queue) > 0 {
		for _, st := range children[queue[0]] {
			if !st.Dead {
				found = append(found, st.PID)
			}
			queue = append(queue, st.PID)
		}
		queue = queue[1:]
	}
	return found, nil
}

// Marked lists the living processes that started at tick since or later and
// carry mark, in their environment or in the name of a mount that they see.
// What a process does to its environment hides it only in part: it still sees
// the mounts of its namespace.
func Marked(mark string, since uint64) ([]int, error) {
	all, err := Processes()
	if err != nil {
		return nil, err
	}
	var found []int
	for _, st := range all {
		if st.Dead || st.Start < since || st.PID == os.Getpid() {
			continue
		}
		if holds(st.PID, "environ", mark) || holds(st.PID, "mountinfo", mark) {
			found = append(found, st.PID)
		}
	}
	return found, nil
}

func holds(pid int, file, mark string) bool {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/" + file)
	return err == nil && bytes.Contains(data, []byte(mark))
}

// Signal sends sig to all pids. A process that is gone is no error.
func Signal(pids []int, sig syscall.Signal) error {
	var errs []error
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("cannot signal process %d: %w", pid, err))
		}
	}
	return errors.Join(errs...)
}

// Handles tells whether a process has a handler for a signal.
func Handles(pid int, sig syscall.Signal) bool {
	if sig < 1 || sig > 64 {
		return false
	}
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(data)) {
		if mask, ok := strings.CutPrefix(line, "SigCgt:"); ok {
			caught, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			return err == nil && caught>>(sig-1)&1 == 1
		}
	}
	return false
}
