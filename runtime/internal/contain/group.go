package contain

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Group is a cgroup: of version 2, or of version 1 below the freezer.
type Group struct {
	Dir string
	V1  bool
}

// Make creates the cgroup; one that is there already must be empty.
func (g Group) Make() error {
	// The folder above is one for all tasks and may be new.
	if err := os.MkdirAll(g.Dir, 0o755); err != nil {
		return fmt.Errorf("cannot make the cgroup: %w", err)
	}
	pids, err := g.Procs()
	if err == nil && len(pids) > 0 {
		err = fmt.Errorf("cannot use the cgroup %s: processes are in it already", g.Dir)
	}
	return err
}

// Procs lists the processes in the cgroup and in those below it, zombies left out.
func (g Group) Procs() ([]int, error) {
	var pids []int
	err := g.walk(func(dir string) error {
		data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		for line := range strings.Lines(string(data)) {
			// 0 stands for a process of a PID namespace that is not ours.
			if pid, perr := strconv.Atoi(strings.TrimSpace(line)); perr == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot list the cgroup %s: %w", g.Dir, err)
	}
	return pids, nil
}

// walk calls do for the cgroup and all below it; what vanishes meanwhile, or
// was turned into a threaded cgroup, is passed over.
func (g Group) walk(do func(dir string) error) error {
	return filepath.WalkDir(g.Dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = do(path)
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) || errors.Is(err, syscall.EOPNOTSUPP) {
			return nil
		}
		return err
	})
}

// Empty tells whether no process is left, or the cgroup is gone.
func (g Group) Empty() bool {
	if !g.V1 {
		data, err := os.ReadFile(filepath.Join(g.Dir, "cgroup.events"))
		if err == nil {
			return bytes.Contains(data, []byte("populated 0"))
		}
		return errors.Is(err, fs.ErrNotExist)
	}
	pids, err := g.Procs()
	return err == nil && len(pids) == 0
}

// Kill sends SIGKILL to all that is in the cgroup. Processes vanish some time
// later; with CanKill none that is being forked is missed, else the caller
// repeats it until Empty.
func (g Group) Kill() error {
	err := write(g.Dir, "cgroup.kill", "1")
	if err == nil || !errors.Is(err, fs.ErrNotExist) || g.gone() {
		return wrapKill(err, g.gone())
	}
	return g.killFrozen()
}

// write must not create: what cgroupfs says to that hides that the file is missing.
func write(dir, file, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

func wrapKill(err error, gone bool) error {
	if err == nil || gone {
		return nil
	}
	return fmt.Errorf("cannot kill the cgroup: %w", err)
}

func (g Group) gone() bool {
	_, err := os.Stat(g.Dir)
	return errors.Is(err, fs.ErrNotExist)
}

// killFrozen stops all processes first, so that none can fork away from the list.
func (g Group) killFrozen() error {
	g.freeze(true)
	pids, err := g.Procs()
	if err == nil {
		err = Signal(pids, syscall.SIGKILL)
	}
	// Frozen processes of v1 die only when they are thawed.
	g.freeze(false)
	return wrapKill(err, g.gone())
}

// freeze waits a moment for the freezer, which can fail to stop a process that
// the kernel holds; killing goes on without.
func (g Group) freeze(on bool) {
	file, want := "cgroup.freeze", map[bool]string{true: "1", false: "0"}[on]
	if g.V1 {
		file, want = "freezer.state", map[bool]string{true: "FROZEN", false: "THAWED"}[on]
	}
	// What the task froze below stays frozen, and alive, unless it is thawed too.
	_ = g.walk(func(dir string) error {
		if on && dir != g.Dir {
			return nil
		}
		return write(dir, file, want)
	})
	for range 50 {
		if !on || g.frozen() {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func (g Group) frozen() bool {
	file, want := "cgroup.events", "frozen 1"
	if g.V1 {
		file, want = "freezer.state", "FROZEN"
	}
	data, err := os.ReadFile(filepath.Join(g.Dir, file))
	return err != nil || bytes.Contains(data, []byte(want))
}

// Remove removes the empty cgroup and those below it.
func (g Group) Remove() error {
	var dirs []string
	_ = g.walk(func(dir string) error { dirs = append(dirs, dir); return nil })
	var errs []error
	for i := len(dirs) - 1; i >= 0; i-- {
		if err := removeDir(dirs[i]); err != nil {
			errs = append(errs, fmt.Errorf("cannot remove the cgroup: %w", err))
		}
	}
	return errors.Join(errs...)
}

// removeDir tries for a while: a cgroup stays busy until the last of its
// processes has been taken down.
func removeDir(dir string) error {
	var err error
	for range 100 {
		if err = syscall.Rmdir(dir); err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, syscall.EBUSY) {
			break
		}
		time.Sleep(2 * time.Millisecond)
	}
	return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
}
