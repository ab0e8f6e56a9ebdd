package shim

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/contain"
)

// group is what the boxes made of a cgroup have in common. Processes that root
// moved out of the cgroup are still descendants: they are killed as such.
type group struct{ contain.Group }

func (g group) make() error          { return g.Make() }
func (g group) pids() ([]int, error) { return g.Procs() }
func (g group) empty() bool          { return g.Empty() }
func (g group) remove() error        { return g.Remove() }

func (g group) kill() error {
	if err := g.Kill(); err != nil {
		return err
	}
	if !g.Empty() {
		return nil
	}
	return tree{}.kill()
}

// group2 is a cgroup of version 2, into which clone3 puts the child.
type group2 struct{ group }

func (g *group2) fork(attr *syscall.SysProcAttr, do func() error) error {
	fd, err := unix.Open(g.Dir, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot open the cgroup: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	attr.UseCgroupFD, attr.CgroupFD = true, fd
	return do()
}

// group1 is a v1 freezer cgroup. A child is born in the cgroup of the thread
// that forks it, so the thread goes there and comes back.
type group1 struct {
	group
	home string
}

func (g *group1) fork(_ *syscall.SysProcAttr, do func() error) error {
	if err := moveThread(g.Dir); err != nil {
		return err
	}
	err := do()
	// Left there, the shim would be frozen together with its task.
	if berr := moveThread(g.home); berr != nil && err == nil {
		err = berr
	}
	return err
}

func moveThread(dir string) error {
	tid := strconv.Itoa(unix.Gettid())
	f, err := os.OpenFile(filepath.Join(dir, "tasks"), os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(tid)
		_ = f.Close()
	}
	if err != nil {
		return fmt.Errorf("cannot enter the cgroup: %w", err)
	}
	return nil
}
