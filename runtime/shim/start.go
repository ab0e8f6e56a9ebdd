package shim

import (
	"os"
	"path/filepath"
	"syscall"

	"agentctl/internal/crash"
	"agentctl/runtime/internal/mounts"
	"agentctl/runtime/internal/record"
	"agentctl/runtime/shim/command"
)

// build makes the box and the view.
func (s *shim) build() error {
	if err := s.box.make(); err != nil {
		return err
	}
	crash.Point("shim.boxed")
	if s.view == nil {
		return nil
	}
	err := s.view.Build()
	crash.Point("shim.mounted")
	return err
}

// newView begins the view of the run, in the background; nil for the host's.
func newView(run *record.Run, dir string) *mounts.View {
	if run.MountNS == record.MountNone || run.Sandbox != nil {
		return nil
	}
	return mounts.Begin(mounts.Spec{
		Overlays: run.Overlays, Hide: run.Hide, Keep: run.Keep, Mark: "agentctl-" + run.Nonce,
		UserNS: run.MountNS == record.MountUserNS, UID: run.UID, GID: run.GID,
		Stage: filepath.Join(dir, "stage"),
	})
}

// spawn forks the task, or the init of its PID namespace, from this thread.
func (s *shim) spawn(out, errOut *os.File) (child, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDONLY, 0)
	if err != nil {
		return child{}, err
	}
	defer func() { _ = null.Close() }()
	if b, ok := s.box.(*sandboxed); ok {
		b.net.tell(s.console)
		return b.spawn(s.run, []*os.File{null, out, errOut})
	}
	files := []uintptr{null.Fd(), out.Fd(), errOut.Fd()}
	if s.run.Containment == record.PIDNS {
		return s.spawnInit(files)
	}
	cmd := newCommand(s.run)
	attr := cmd.Attr(files)
	attr.Sys.Pdeathsig = syscall.SIGKILL
	c := child{}
	err = s.box.fork(attr.Sys, func() (err error) {
		c.pid, err = cmd.Exec(attr)
		return err
	})
	return c, err
}

// newCommand is the run's command, with the mark by which its processes are found.
func newCommand(run *record.Run) command.Command {
	return command.Command{
		Args: run.Args, Env: append(run.Env[:len(run.Env):len(run.Env)], record.MarkVar+"="+run.Nonce), Cwd: run.Cwd,
		UID: run.UID, GID: run.GID, Groups: run.Groups,
		InUserNS: run.MountNS == record.MountUserNS || run.Containment == record.PIDNS && os.Geteuid() != 0,
	}
}

// child is the process that the shim waits for.
type child struct {
	pid int
	// status waits for an init's word on how the task ended; nil for the task itself.
	status func() (ws syscall.WaitStatus, ok bool)
}
