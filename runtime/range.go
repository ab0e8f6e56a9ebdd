package runtime

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"agentctl/internal/crash"
	"agentctl/runtime/internal/contain"
	"agentctl/runtime/internal/record"
)

// rangeVar names the descriptor on which a program of EnterRange waits.
const rangeVar = "AGENTCTL_RANGE_FD"

// EnterRange starts cmd, a program that calls AwaitRange before anything else, in
// user and mount namespaces of its own, where this process's user is root and the
// ids from 1 on are those of the range: there, files of the range can be made,
// given away and removed. The user must not be root.
func EnterRange(cmd *exec.Cmd, ids IDRange) error {
	m, err := mappingOf(ids)
	if err != nil {
		return err
	}
	held, release, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = release.Close() }()
	defer func() { _ = held.Close() }()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	if err := unmapped(cmd.SysProcAttr); err != nil {
		return err
	}
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, held)
	cmd.Env = append(cmd.Env, rangeVar+"="+strconv.Itoa(2+len(cmd.ExtraFiles)))
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot enter the range of ids: %w", err)
	}
	if err := mapIDs(cmd.Process.Pid, *m); err != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		return fmt.Errorf("cannot enter the range of ids: %w", err)
	}
	return nil
}

// AwaitRange waits, in a program that EnterRange started, until the ids are there.
// In any other it does nothing.
func AwaitRange() error {
	word := os.Getenv(rangeVar)
	if word == "" {
		return nil
	}
	fd, err := strconv.Atoi(word)
	if err == nil {
		err = awaitEnd(fd)
	}
	if err == nil && os.Geteuid() != 0 {
		err = errors.New("nobody is mapped")
	}
	if err != nil {
		return fmt.Errorf("cannot enter the range of ids: %w", err)
	}
	// What this program starts has no such descriptor.
	return os.Unsetenv(rangeVar)
}

// awaitEnd reads a descriptor until its end, and closes it.
func awaitEnd(fd int) error {
	defer func() { _ = unix.Close(fd) }()
	var one [1]byte
	for {
		n, err := unix.Read(fd, one[:])
		if errors.Is(err, unix.EINTR) || err == nil && n > 0 {
			continue
		}
		return err
	}
}

// mappingOf is what makes this user root, and 1 the first id of the range, which
// must be among his subordinate ids.
func mappingOf(ids IDRange) (*record.Mapping, error) {
	uids, gids, err := SubIDs()
	if err != nil {
		return nil, err
	}
	if ids.Size < 1 || ids.Base < uids.Base || ids.Base+ids.Size > uids.Base+uids.Size {
		return nil, fmt.Errorf("the ids %d+%d are not among the agent's subordinate ids, which are %d+%d", ids.Base, ids.Size, uids.Base, uids.Size)
	}
	return &record.Mapping{UID: ids.Base, GID: gids.Base + ids.Base - uids.Base, Size: ids.Size}, nil
}

// Outside is what a program that EnterRange started needs to know of its agent to
// make sandboxes there.
type Outside struct {
	Shim   string
	Host   Host
	Groups string // where cgroups can be made; "" where none can
	Boot   string
}

// Outside tells what this launcher knows.
func (l *Launcher) Outside() (Outside, error) {
	known, err := l.facts()
	o := Outside{Shim: l.shim, Host: l.host, Boot: known.boot}
	if known.err1 != nil && known.home2.Delegated() {
		o.Groups = known.home2.Parent
	}
	return o, err
}

// Inside is a launcher for a program that EnterRange started: its sandboxes, of ids
// as they are numbered there, are made in the namespace that it is in itself.
func (o Outside) Inside(log *slog.Logger) *Launcher {
	known := facts{boot: o.Boot, home2: contain.Home{Parent: o.Groups}, err1: errors.New("a plain user has none")}
	if o.Groups == "" {
		known.err2 = errors.New("none was delegated")
	}
	return &Launcher{
		shim: o.Shim, host: o.Host, log: log, step: crash.Point, patience: endPatience, entered: true,
		facts: sync.OnceValues(func() (facts, error) { return known, nil }),
	}
}

// inside completes the order of a program in the range.
func (l *Launcher) inside(run *record.Run, known facts) error {
	if run.Sandbox.Network.Mode == NetworkPrivate || !run.Sandbox.Shifted {
		return errors.New("in the range of ids there are neither private networks nor mapped layers")
	}
	run.Rootless = true
	run.CgroupPath = known.groupPath(run.ID + "-" + run.Nonce[:8])
	return nil
}
