package shim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/packet"
	"agentctl/runtime/internal/record"
	"agentctl/runtime/shim/command"
)

// The init of a PID namespace is this program again, with the task's streams, the
// command as JSON on descriptor 3, and 4 for its words, each a tag and what
// follows:
//
//	S  the task was started
//	F  the task could not be started, and why
//	X  the task has ended, and its wait status
const (
	initCommandFD = 3
	initWordFD    = 4

	wordStarted = 'S'
	wordFailed  = 'F'
	wordEnded   = 'X'
)

// spawnInit forks the init and waits for its first word.
func (s *shim) spawnInit(files []uintptr) (child, error) {
	order, err := packet.File(newCommand(s.run))
	if err != nil {
		return child{}, err
	}
	defer func() { _ = order.Close() }()
	words, w, err := os.Pipe()
	if err != nil {
		return child{}, err
	}
	attr := &syscall.ProcAttr{
		Dir: "/", Env: []string{record.MarkVar + "=" + s.run.Nonce}, Files: append(files, order.Fd(), w.Fd()),
		Sys: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	}
	c := child{status: func() (syscall.WaitStatus, bool) { return lastWord(words) }}
	err = s.box.fork(attr.Sys, func() (err error) {
		// By this name the program is found where its folder is hidden.
		c.pid, err = syscall.ForkExec("/proc/self/exe", []string{initName}, attr)
		return err
	})
	_ = w.Close()
	if err == nil {
		err = firstWord(words)
	}
	if err != nil {
		_ = words.Close()
		return child{}, err
	}
	return c, nil
}

func firstWord(words io.Reader) error {
	var tag [1]byte
	if _, err := io.ReadFull(words, tag[:]); err != nil {
		return errors.New("cannot start: the init of the PID namespace died at once")
	}
	if tag[0] == wordStarted {
		return nil
	}
	why, err := io.ReadAll(io.LimitReader(words, 64<<10))
	return errors.Join(errors.New(string(why)), err)
}

// lastWord is the task's wait status as its init told it; ok is false if the
// init was killed before.
func lastWord(words *os.File) (ws syscall.WaitStatus, ok bool) {
	defer func() { _ = words.Close() }()
	var word [5]byte
	if _, err := io.ReadFull(words, word[:]); err != nil || word[0] != wordEnded {
		return 0, false
	}
	return syscall.WaitStatus(binary.LittleEndian.Uint32(word[1:])), true
}

// initMain is process 1 of a PID namespace: it starts the task, reaps, and dies
// when the task has ended; the kernel then kills the rest.
func initMain() int {
	// An init gets only signals that it has handlers for, and the shim's SIGTERM is
	// for the others.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE)
	word := os.NewFile(initWordFD, "word")
	pid, err := initStart()
	if err != nil {
		_, _ = word.Write(append([]byte{wordFailed}, err.Error()...))
		return 1
	}
	if _, err := word.Write([]byte{wordStarted}); err != nil {
		return 1
	}
	for {
		var ws syscall.WaitStatus
		got, err := syscall.Wait4(-1, &ws, 0, nil)
		if errors.Is(err, syscall.EINTR) || err == nil && got != pid {
			continue
		}
		if err != nil {
			return 1
		}
		_, err = word.Write(binary.LittleEndian.AppendUint32([]byte{wordEnded}, uint32(ws)))
		if err != nil {
			return 1
		}
		return 0
	}
}

func initStart() (int, error) {
	if err := closeOnExec(); err != nil {
		return 0, err
	}
	var cmd command.Command
	if err := packet.ReadFile(os.NewFile(initCommandFD, "command"), &cmd); err != nil {
		return 0, err
	}
	// On most hosts / is shared: the host, too, would get our /proc.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return 0, fmt.Errorf("cannot keep mounts from the host: %w", err)
	}
	// The host's numbers in /proc would be those of other processes here.
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return 0, fmt.Errorf("cannot mount /proc for the PID namespace: %w", err)
	}
	unix.Umask(0o022)
	return cmd.Exec(cmd.Attr([]uintptr{0, 1, 2}))
}
