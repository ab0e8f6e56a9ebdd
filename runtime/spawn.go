package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/record"
)

// spawned is a shim that was started and has not yet said that it is ready.
type spawned struct {
	run   *record.Run
	proc  *os.Process
	pidfd int
	hint  *os.File // the shim's word on how its start went, and, by its end, on its exit record
}

// spawn starts the shim in a session of its own. Its descriptors are 2 for its
// log, 3 for the lock, 4 for its word on the start, and from 5 on the leases.
func (l *Launcher) spawn(run *record.Run, lock *os.File, leases []*os.File) (*spawned, error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = null.Close() }()
	logFile, err := os.OpenFile(filepath.Join(run.Dir, record.LogFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = logFile.Close() }()
	hint, word, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = word.Close() }()
	s := &spawned{run: run, pidfd: -1, hint: hint}
	attr := &os.ProcAttr{
		Dir:   "/",
		Env:   shimEnv(),
		Files: append([]*os.File{null, null, logFile, lock, word}, leases...),
		Sys:   &syscall.SysProcAttr{Setsid: true, PidFD: &s.pidfd},
	}
	if err := s.start(l.shim, attr); err != nil {
		_ = hint.Close()
		return nil, fmt.Errorf("cannot start the shim: %w", err)
	}
	return s, nil
}

// start starts the shim, in a user namespace where its rights come from one.
func (s *spawned) start(shim string, attr *os.ProcAttr) (err error) {
	args := []string{"agentctl-shim", s.run.Dir}
	if s.run.Mapped == nil {
		if needsUserNS(s.run) {
			inUserNS(attr.Sys)
		}
		s.proc, err = os.StartProcess(shim, args, attr)
		return err
	}
	if err := unmapped(attr.Sys); err != nil {
		return err
	}
	held, release, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = release.Close() }()
	attr.Files[record.MappedFD] = held
	attr.Env = append(attr.Env, record.MappedVar+"=1")
	s.proc, err = os.StartProcess(shim, args, attr)
	_ = held.Close()
	if err != nil {
		return err
	}
	if err := mapIDs(s.proc.Pid, *s.run.Mapped); err != nil {
		return errors.Join(err, s.giveUp())
	}
	return nil
}

// shimEnv keeps the agent's variables, which may hold secrets, from the shim.
func shimEnv() []string {
	// A fixed GOMAXPROCS saves the Go runtime from looking at cgroups at its start
	// and every second.
	env := []string{"GOMAXPROCS=2"}
	// Acts in programs built for tests of crashes only.
	if at := os.Getenv("AGENTCTL_CRASH_AT"); at != "" {
		env = append(env, "AGENTCTL_CRASH_AT="+at)
	}
	return env
}

// needsUserNS tells whether the shim gets its rights from a user namespace.
func needsUserNS(run *record.Run) bool {
	return run.MountNS == MountUserNS || run.Containment == PIDNS && os.Geteuid() != 0
}

// inUserNS starts the shim in user and mount namespaces of its own, with its own
// user mapped to itself. A program that is not root loses its capabilities when
// it is executed, but for the ambient ones; the task gets none of them.
func inUserNS(sys *syscall.SysProcAttr) {
	uid, gid := os.Geteuid(), os.Getegid()
	sys.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS
	sys.UidMappings = []syscall.SysProcIDMap{{ContainerID: uid, HostID: uid, Size: 1}}
	sys.GidMappings = []syscall.SysProcIDMap{{ContainerID: gid, HostID: gid, Size: 1}}
	// What overlayfs does in its folders, it does with the rights of the mounter.
	sys.AmbientCaps = []uintptr{
		unix.CAP_SYS_ADMIN, unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE,
		unix.CAP_DAC_READ_SEARCH, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_SETFCAP,
	}
}

// ready waits until the shim has recorded its handle.
func (s *spawned) ready(ctx context.Context) (*Task, error) {
	if err := s.recorded(ctx); err != nil {
		return nil, err
	}
	h, err := record.ReadHandle(s.run.Dir)
	if err != nil {
		return nil, errors.Join(err, s.giveUp())
	}
	return newTask(s.run.Dir, h, s.pidfd, s), nil
}

// recorded waits until the shim has recorded its handle.
func (s *spawned) recorded(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { _ = s.hint.SetReadDeadline(time.Unix(1, 0)) })
	word, err := s.word()
	stop()
	if err != nil && ctx.Err() != nil {
		return errors.Join(context.Cause(ctx), s.giveUp())
	}
	h, herr := record.ReadHandle(s.run.Dir)
	if herr == nil && h != nil {
		return nil
	}
	if gerr := s.giveUp(); gerr != nil {
		return gerr
	}
	if msg := strings.TrimSpace(word); msg != "" {
		return errors.New(msg)
	}
	return errors.Join(fmt.Errorf("the shim ended at once%s", s.lastWords()), herr, err)
}

// word reads until the shim is ready, or all that it says of why it is not.
func (s *spawned) word() (string, error) {
	text := make([]byte, 64<<10)
	for n := 0; ; {
		more, err := s.hint.Read(text[n:])
		n += more
		if string(text[:n]) == record.WordReady {
			return record.WordReady, nil
		}
		if errors.Is(err, io.EOF) || n == len(text) {
			return string(text[:n]), nil
		}
		if err != nil {
			return string(text[:n]), err
		}
	}
}

// giveUp kills the shim, which takes the task with it, and settles the folder.
func (s *spawned) giveUp() error {
	if err := s.kill(); err != nil {
		return err
	}
	return settleAll(s.run.Dir)
}

// lastWords is what a broken shim wrote on its standard error.
func (s *spawned) lastWords() string {
	data, err := os.ReadFile(filepath.Join(s.run.Dir, record.LogFile))
	if err != nil || len(data) == 0 {
		return ""
	}
	return ": " + strings.TrimSpace(string(data[:min(len(data), 2000)]))
}
