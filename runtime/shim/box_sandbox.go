package shim

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/contain"
	"agentctl/runtime/internal/record"
	"agentctl/runtime/shim/command"
	"agentctl/runtime/shim/sandbox"
)

// sandboxed holds the task in a sandbox, whose init is the runner.
type sandboxed struct {
	run      *record.Run
	dir      string // to mount to; the folder that the shim was started in
	gathered <-chan sandbox.Gathered
	made     *sandbox.Box // nil until it is
	net      *network     // nil for the host's
}

func newSandboxed(run *record.Run, dir string) *sandboxed {
	return &sandboxed{run: run, dir: dir, gathered: sandbox.Gather(run)}
}

// wake moves this process to where it is. The first move of a while makes the
// kernel wait 5 to 7 ms for all CPUs, and those that follow not: so it waits now,
// beside the other work, and not when the sandbox joins its cgroups.
func wake(home string) {
	if home == "" {
		return
	}
	if f, err := os.OpenFile(filepath.Join(home, "cgroup.procs"), os.O_WRONLY, 0); err == nil {
		_, _ = f.WriteString("0")
		_ = f.Close()
	}
}

func (b *sandboxed) make() (err error) {
	if b.made, err = sandbox.Create(b.run, b.dir, b.gathered); err != nil {
		return err
	}
	b.net, err = openNetwork(b.run, b.made.PID())
	return err
}

func (b *sandboxed) fork(_ *syscall.SysProcAttr, do func() error) error { return do() }

// pids leaves the runner out: it reports how the task ends.
func (b *sandboxed) pids() ([]int, error) {
	pids, err := contain.Descendants(os.Getpid())
	if b.made != nil {
		pids = slices.DeleteFunc(pids, func(pid int) bool { return pid == b.made.PID() })
	}
	return pids, err
}

func (b *sandboxed) kill() error {
	if b.made == nil {
		return tree{}.kill()
	}
	return b.made.Kill()
}

// empty is left to the reaper: the init is dead when all of its namespace is.
func (b *sandboxed) empty() bool { return true }

func (b *sandboxed) remove() error {
	if b.made == nil {
		return sandbox.RemoveGroups(b.run)
	}
	b.net.close()
	return b.made.Remove()
}

// spawn starts the task's main process.
func (b *sandboxed) spawn(run *record.Run, files []*os.File) (child, error) {
	if run != b.run && !reflect.DeepEqual(run.Sandbox.Resources, b.run.Sandbox.Resources) {
		if err := b.made.Limit(run.Sandbox.Resources); err != nil {
			return child{}, err
		}
	}
	if err := b.made.Late(run); err != nil {
		return child{}, err
	}
	p, err := b.made.Start(command.Command{Args: run.Args, Env: run.Env, Cwd: run.Cwd, UID: -1, GID: -1}, files)
	if err != nil {
		return child{}, err
	}
	return child{pid: b.made.PID(), status: p.Status}, nil
}

// owner is whom the task's user is on the host.
func owner(run *record.Run) (uid, gid int) {
	if run.Sandbox == nil {
		return run.UID, run.GID
	}
	base := run.Sandbox.IDs.Base
	return base + max(run.UID, 0), base + max(run.GID, 0)
}

// stopSignal is what asks the task to end.
func stopSignal(run *record.Run) syscall.Signal {
	if run.Sandbox != nil {
		if sig := unix.SignalNum(run.Sandbox.StopSignal); sig != 0 {
			return sig
		}
	}
	return syscall.SIGTERM
}
