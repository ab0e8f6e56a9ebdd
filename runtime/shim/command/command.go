// Package command owns how a task is executed: the fork, what is inherited, and
// a sentence for the user when it fails. It is used by the shim and by the
// program that is process 1 of a task's PID namespace.
package command

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Command is what is to be executed. A process 1 gets it as JSON.
type Command struct {
	Args, Env []string
	Cwd       string
	UID, GID  int
	Groups    []int
	// InUserNS is true where the process has its rights from a user namespace,
	// none of which the task may get.
	InUserNS bool
}

// Attr is how the task is to be forked, with the first descriptors.
func (c Command) Attr(files []uintptr) *syscall.ProcAttr {
	// A session of its own: what the task sends to its process group must not
	// reach the shim.
	sys := &syscall.SysProcAttr{Setsid: true}
	if c.UID != -1 {
		groups := make([]uint32, len(c.Groups))
		for i, g := range c.Groups {
			groups[i] = uint32(g)
		}
		sys.Credential = &syscall.Credential{Uid: uint32(c.UID), Gid: uint32(c.GID), Groups: groups}
	}
	return &syscall.ProcAttr{Dir: c.Cwd, Env: c.Env, Files: files, Sys: sys}
}

// Exec forks and executes the task from the calling thread. Its error is a
// sentence for the user.
func (c Command) Exec(attr *syscall.ProcAttr) (int, error) {
	if c.InUserNS {
		if err := dropRights(); err != nil {
			return 0, err
		}
	}
	pid, err := syscall.ForkExec(c.Args[0], c.Args, attr)
	if err != nil {
		return 0, c.explain(err)
	}
	return pid, nil
}

// dropRights makes the rights over the user namespace end with the next exec:
// with them the task could take its view apart.
func dropRights() error {
	err := clearInheritable()
	if err == nil && os.Geteuid() == 0 {
		// Root would get all rights back, but for what is out of bounds.
		err = unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_ADMIN, 0, 0, 0)
	}
	if err != nil {
		return fmt.Errorf("cannot drop the rights over the namespace: %w", err)
	}
	return nil
}

// clearInheritable empties the inheritable set of the calling thread and with it
// the ambient one.
func clearInheritable() error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var sets [2]unix.CapUserData
	if err := unix.Capget(&hdr, &sets[0]); err != nil {
		return err
	}
	sets[0].Inheritable, sets[1].Inheritable = 0, 0
	return unix.Capset(&hdr, &sets[0])
}

// explain finds out which of fork, chdir, setuid and execve failed.
func (c Command) explain(err error) error {
	seen := Seen{Cwd: c.Cwd, Program: c.Args[0], UID: c.UID, GID: c.GID}
	var st unix.Stat_t
	if seen.CwdErr = unix.Stat(c.Cwd, &st); seen.CwdErr == nil {
		seen.CwdIsDir = st.Mode&unix.S_IFMT == unix.S_IFDIR
	}
	if seen.ProgramErr = unix.Stat(seen.Program, &st); seen.ProgramErr == nil {
		seen.Mode, seen.Head = st.Mode, head(seen.Program)
	}
	return seen.Explain(err)
}

// Seen is what was found where a command that failed was to begin.
type Seen struct {
	Cwd        string
	CwdErr     error
	CwdIsDir   bool
	Program    string
	ProgramErr error
	Mode       uint32 // of the program, as stat(2) gives it
	Head       []byte // its first bytes
	UID, GID   int    // as in Command
}

// Explain tells which of fork, chdir, setuid and execve failed with err: they all give
// the same few errors.
func (s Seen) Explain(err error) error {
	program := s.Program
	switch {
	case s.CwdErr != nil:
		return fmt.Errorf("cannot start: working folder %s: %w", s.Cwd, s.CwdErr)
	case !s.CwdIsDir:
		return fmt.Errorf("cannot start: working folder %s: not a folder", s.Cwd)
	case s.ProgramErr != nil:
		return fmt.Errorf("cannot start: %s: %w", program, s.ProgramErr)
	case s.Mode&unix.S_IFMT == unix.S_IFDIR:
		return fmt.Errorf("cannot start: %s: is a folder", program)
	case s.Mode&0o111 == 0:
		return fmt.Errorf("cannot start: %s: not executable", program)
	case errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("cannot start: %s: its interpreter%s does not exist", program, interpreter(s.Head))
	case errors.Is(err, syscall.ENOEXEC):
		return fmt.Errorf("cannot start: %s: not a program of this machine, nor a script with a first line of #! and its interpreter", program)
	case errors.Is(err, syscall.E2BIG):
		return fmt.Errorf("cannot start: %s: arguments and environment are too long", program)
	case errors.Is(err, syscall.EACCES) && s.UID != -1:
		return fmt.Errorf("cannot start: user %d may not run %s or enter %s", s.UID, program, s.Cwd)
	case errors.Is(err, syscall.EPERM) && s.UID != -1:
		return fmt.Errorf("cannot start: can't become user %d, group %d: %w", s.UID, s.GID, err)
	}
	return fmt.Errorf("cannot start: %s: %w", program, err)
}

// head is the beginning of a program.
func head(program string) []byte {
	f, err := os.Open(program)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	head := make([]byte, 256)
	n, _ := io.ReadFull(f, head)
	return head[:n]
}

// interpreter is what the first line of a script names.
func interpreter(head []byte) string {
	line, _, _ := bytes.Cut(head, []byte("\n"))
	name, ok := bytes.CutPrefix(line, []byte("#!"))
	if fields := strings.Fields(strings.ToValidUTF8(string(name), "")); ok && len(fields) > 0 {
		return " " + filepath.Clean(fields[0])
	}
	return ""
}
