package shim

import (
	"errors"
	"os"
	"syscall"

	"agentctl/runtime/internal/contain"
	"agentctl/runtime/internal/record"
)

// box holds the processes of the task together.
type box interface {
	// make prepares it, before the fork.
	make() error
	// fork runs do, which forks from the calling thread with the attributes that
	// the box has completed, so that the child is in the box from its first
	// instruction on.
	fork(attr *syscall.SysProcAttr, do func() error) error
	// pids lists the task's processes.
	pids() ([]int, error)
	// kill sends SIGKILL to all of them, once.
	kill() error
	// empty tells whether none is left.
	empty() bool
	// remove takes down the empty box.
	remove() error
}

func newBox(run *record.Run, dir string) box {
	if run.Sandbox != nil {
		return newSandboxed(run, dir)
	}
	switch run.Containment {
	case record.Cgroup2:
		return &group2{group{contain.Group{Dir: run.Cgroup}}}
	case record.Cgroup1:
		return &group1{group{contain.Group{Dir: run.Cgroup, V1: true}}, run.CgroupHome}
	case record.PIDNS:
		return &pidns{}
	}
	return tree{}
}

// tree is the subreaper's box: all descendants of the shim. A process is in it
// until it has died and was reaped, whatever sessions and forks it hides behind.
type tree struct{}

func (tree) make() error                                        { return nil }
func (tree) fork(_ *syscall.SysProcAttr, do func() error) error { return do() }
func (tree) pids() ([]int, error)                               { return contain.Descendants(os.Getpid()) }
func (tree) remove() error                                      { return nil }

// kill stops all of them first, so that fewer can fork away from the list; the
// caller repeats it until none is left.
func (t tree) kill() error {
	pids, err := t.pids()
	if err != nil {
		return err
	}
	return errors.Join(contain.Signal(pids, syscall.SIGSTOP), contain.Signal(pids, syscall.SIGKILL))
}

// empty is left to the reaper, which knows when the last child is gone.
func (tree) empty() bool { return true }

// pidns is a tree below an init of its own PID namespace: when the init dies the
// kernel kills all the others.
type pidns struct{ tree }

func (p *pidns) fork(attr *syscall.SysProcAttr, do func() error) error {
	attr.Cloneflags |= syscall.CLONE_NEWPID | syscall.CLONE_NEWNS
	return do()
}
