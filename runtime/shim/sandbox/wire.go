package sandbox

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"agentctl/runtime/shim/command"
)

// What shim and runner say to each other.
const (
	doRun    = "run"    // to the runner: execute the command in the first file, on the three streams behind it or on a terminal
	doSignal = "signal" // to the runner: signal its process group
	begun    = "begun"  // from the runner: it runs; beside it the other end of its terminal
	failed   = "failed" // from the runner: it could not be executed, and why
	ended    = "ended"  // from the runner: how it ended
)

// mainID names the task's main process; when it ends the runner does.
const mainID = 0

// maxFiles is how many files go with a command: itself and three streams.
const maxFiles = 4

// message is one message between shim and runner.
type message struct {
	What   string `json:"what"`
	ID     uint32 `json:"id"` // names one process
	Number uint32 `json:"number,omitempty"`
	Why    string `json:"why,omitempty"`
}

// commandFile hands a command over, which may be longer than a packet.
func commandFile(c command.Command) (*os.File, error) {
	data, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("command", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot hand the command over: %w", err)
	}
	f := os.NewFile(uintptr(fd), "command")
	if _, err := f.WriteAt(data, 0); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("cannot hand the command over: %w", err)
	}
	return f, nil
}

func readCommand(f *os.File) (c command.Command, err error) {
	if err = json.NewDecoder(io.NewSectionReader(f, 0, 1<<40)).Decode(&c); err != nil {
		err = fmt.Errorf("cannot read the command: %w", err)
	}
	return c, err
}
