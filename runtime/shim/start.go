package shim

import (
	"os"
	"path/filepath"
	"syscall"

	"agentctl/internal/crash"
	"agentctl/runtime/internal/mounts"
	"agentctl/runtime/internal/record"
)

// build makes the box and the view.
func (s *shim) build() error {
	if err := s.box.make(); err != nil {
		return err
	}
	crash.Point("shim.boxed")
	if s.run.MountNS == record.MountNone {
		return nil
	}
	err := mounts.View{
		Overlays: s.run.Overlays, Hide: s.run.Hide, Keep: s.run.Keep, Mark: "agentctl-" + s.run.Nonce,
		UserNS: s.run.MountNS == record.MountUserNS, UID: s.run.UID, GID: s.run.GID,
		Stage: filepath.Join(s.dir, "stage"),
	}.Build()
	crash.Point("shim.mounted")
	return err
}

// spawn forks the task, or the init of its PID namespace, from this thread.
func (s *shim) spawn(out, errOut *os.File) (child, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDONLY, 0)
	if err != nil {
		return child{}, err
	}
	defer func() { _ = null.Close() }()
	files := []uintptr{null.Fd(), out.Fd(), errOut.Fd()}
	if s.run.Containment == record.PIDNS {
		return s.spawnInit(files)
	}
	cmd := newCommand(s.run)
	attr := cmd.attr(files)
	attr.Sys.Pdeathsig = syscall.SIGKILL
	c := child{}
	err = s.box.fork(attr.Sys, func() (err error) {
		c.pid, err = cmd.exec(attr)
		return err
	})
	return c, err
}

// child is the process that the shim waits for.
type child struct {
	pid    int
	status *os.File // an init's word on how the task ended; nil for the task itself
}
