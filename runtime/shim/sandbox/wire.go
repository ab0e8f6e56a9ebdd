package sandbox

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/packet"
	"agentctl/runtime/shim/command"
)

// What shim and runner say to each other, as runner.h has it.
const (
	doRun = 1 + iota
	doSignal
	begun
	failed
	ended
)

// Where a command failed.
const (
	atOrder = 1 + iota
	atTerminal
	atFind
	atExec
)

// mainID names the task's main process; when it ends the runner does.
const mainID = 0

// message is one message between shim and runner.
type message struct {
	What   uint32
	ID     uint32 // names one process
	Number uint32
}

func (m message) encode() []byte {
	data, _ := binary.Append(nil, binary.NativeEndian, m) // fails for no such type
	return data
}

// decode reads a message; more is what stands behind it.
func (m *message) decode(data []byte) (more []byte, err error) {
	n, err := binary.Decode(data, binary.NativeEndian, m)
	if err != nil {
		return nil, fmt.Errorf("cannot read a message: %w", err)
	}
	return data[n:], nil
}

// orderHead begins an order, which goes on with strings, each with its NUL: the working
// folder, the candidates for the program, the arguments, the environment.
type orderHead struct{ Candidates, Args, Env uint32 }

// order is what the runner executes.
func order(cmd command.Command) (*os.File, error) {
	programs := candidates(cmd)
	head := orderHead{uint32(len(programs)), uint32(len(cmd.Args)), uint32(len(cmd.Env))}
	data, _ := binary.Append(nil, binary.NativeEndian, head) // fails for no such type
	for _, list := range [][]string{{cmd.Cwd}, programs, cmd.Args, cmd.Env} {
		for _, text := range list {
			if strings.IndexByte(text, 0) >= 0 {
				return nil, errors.New("cannot start: there is a NUL in the command or its environment")
			}
			data = append(append(data, text...), 0)
		}
	}
	return packet.Memory(data)
}

// defaultPath is where a command is looked for that has no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// candidates are the places of a command's program: those along its own PATH if it is a
// bare name.
func candidates(cmd command.Command) []string {
	name := cmd.Args[0]
	if strings.Contains(name, "/") {
		return []string{name}
	}
	var list []string
	for _, dir := range filepath.SplitList(searched(cmd)) {
		list = append(list, filepath.Join("/", dir, name))
	}
	// A single one would be taken as it is.
	return append(list, list...)
}

func searched(cmd command.Command) string {
	path := defaultPath
	for _, kv := range cmd.Env {
		if value, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = value
		}
	}
	return path
}

// failure is why a command could not be executed: what was found where it was to begin.
// The path of its program stands behind it.
type failure struct {
	At, CwdErrno, CwdMode, ProgramErrno, ProgramMode uint32
	Head                                             [256]byte
}

// explain makes a sentence for the user of what the runner says of a failure.
func explain(cmd command.Command, number uint32, told []byte) error {
	var f failure
	n, err := binary.Decode(told, binary.NativeEndian, &f)
	if err != nil {
		return errors.New("cannot start: the runner does not tell why")
	}
	errno := syscall.Errno(number)
	switch f.At {
	case atTerminal:
		return fmt.Errorf("cannot open a terminal: %w", errno)
	case atFind:
		return fmt.Errorf("cannot start: %s is in none of the folders of PATH (%s)", cmd.Args[0], searched(cmd))
	case atExec:
		head, _, _ := bytes.Cut(f.Head[:], []byte{0})
		return command.Seen{
			Cwd: cmd.Cwd, CwdErr: asError(f.CwdErrno), CwdIsDir: f.CwdMode&unix.S_IFMT == unix.S_IFDIR,
			Program: strings.ToValidUTF8(string(told[n:]), ""), ProgramErr: asError(f.ProgramErrno), Mode: f.ProgramMode, Head: head, UID: cmd.UID,
		}.Explain(errno)
	}
	return fmt.Errorf("cannot start: the order is damaged: %w", errno)
}

func asError(errno uint32) error {
	if errno == 0 {
		return nil
	}
	return syscall.Errno(errno)
}
