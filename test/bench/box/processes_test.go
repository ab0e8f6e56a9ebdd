//go:build bench

package box

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// process is one of those that keep a sandbox.
type process struct {
	pid     int
	name    string
	pss     int64
	private int64
	rss     int64
}

// mentioning lists processes with a word among their arguments.
func mentioning(word string) (pids []int) {
	word = strings.TrimSpace(word)
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		if data, err := os.ReadFile(f); err == nil && word != "" && bytes.Contains(data, []byte(word)) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// trees is all that descends from pids, themselves included, without the tasks.
func trees(pids []int) (all []process) {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range stats {
		data, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
		parent, _ := strconv.Atoi(fields[1])
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		children[parent] = append(children[parent], pid)
	}
	var seen []int
	for queue := slices.Clone(pids); len(queue) > 0; queue = queue[1:] {
		pid := queue[0]
		if slices.Contains(seen, pid) {
			continue
		}
		seen = append(seen, pid)
		queue = append(queue, children[pid]...)
		if p, ok := look(pid); ok && p.name != "sleep" && p.name != "sh" {
			all = append(all, p)
		}
	}
	return all
}

// look reads what a process has in memory.
func look(pid int) (process, bool) {
	dir := "/proc/" + strconv.Itoa(pid)
	name, err1 := os.ReadFile(dir + "/comm")
	text, err2 := os.ReadFile(dir + "/smaps_rollup")
	if err1 != nil || err2 != nil {
		return process{}, false // it has ended
	}
	p := process{pid: pid, name: strings.TrimSpace(string(name))}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		kb, _ := strconv.ParseInt(f[1], 10, 64)
		switch f[0] {
		case "Rss:":
			p.rss = kb << 10
		case "Pss:":
			p.pss = kb << 10
		case "Private_Clean:", "Private_Dirty:":
			p.private += kb << 10
		}
	}
	return p, true
}

// available is what the machine could still give to programs.
func available() int64 {
	text, _ := os.ReadFile("/proc/meminfo")
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "MemAvailable:" {
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			return kb << 10
		}
	}
	return 0
}
