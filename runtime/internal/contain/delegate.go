package contain

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// agentDir is the leaf into which the processes of a delegated cgroup are moved:
// version 2 limits the groups below one only if no process is in it.
const agentDir = "agent"

// Delegate prepares this process's own cgroup, where it is version 2 and systemd handed
// it to its unit, to hold limited groups for tasks: its processes go to a leaf, and the
// controllers are handed on. Elsewhere it does nothing. It may be called again.
func Delegate() error {
	h, err := Home2()
	if err != nil || !delegated(filepath.Dir(h.Parent)) {
		return nil //nolint:nilerr // nothing was delegated
	}
	if err := delegate(h); err != nil {
		return fmt.Errorf("cannot prepare the delegated cgroup %s: %w", h.Own, err)
	}
	return nil
}

func delegate(h Home) error {
	top := filepath.Dir(h.Parent)
	if h.Own == top {
		leaf := filepath.Join(top, agentDir)
		if err := os.Mkdir(leaf, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		pids, err := os.ReadFile(filepath.Join(top, "cgroup.procs"))
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(pids)) {
			pid, err := strconv.Atoi(strings.TrimSpace(line))
			if err != nil {
				continue
			}
			// One that has ended meanwhile needs no place.
			if err := write(leaf, "cgroup.procs", strconv.Itoa(pid)); err != nil && pid == os.Getpid() {
				return err
			}
		}
	}
	if err := os.MkdirAll(h.Parent, 0o755); err != nil {
		return err
	}
	for _, dir := range []string{top, h.Parent} {
		controllers, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
		if err != nil {
			return err
		}
		for _, c := range strings.Fields(string(controllers)) {
			// One that can't be handed on is missed when a limit asks for it, in words.
			_ = write(dir, "cgroup.subtree_control", "+"+c)
		}
	}
	return nil
}
