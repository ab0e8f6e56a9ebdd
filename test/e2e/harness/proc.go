package harness

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
)

// processes lists the live processes that were started with the node's folder in
// their arguments, environment or working folder.
func (n *Node) processes() []int {
	return Processes(n.Dir)
}

// Processes lists the live processes whose arguments, environment or working
// folder hold mark, without this one.
func Processes(mark string) []int {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var found []int
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == os.Getpid() || zombie(dir) {
			continue
		}
		args, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		env, _ := os.ReadFile(filepath.Join(dir, "environ"))
		cwd, _ := os.Readlink(filepath.Join(dir, "cwd"))
		if bytes.Contains(args, []byte(mark)) || bytes.Contains(env, []byte(mark)) || bytes.HasPrefix([]byte(cwd), []byte(mark)) {
			found = append(found, pid)
		}
	}
	return found
}

// zombie tells that a process has ended and waits to be collected.
func zombie(dir string) bool {
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return true // gone
	}
	_, rest, _ := bytes.Cut(stat, []byte(") "))
	return bytes.HasPrefix(rest, []byte("Z"))
}
