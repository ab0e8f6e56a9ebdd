package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"agentctl/runtime/internal/packet"
	"agentctl/runtime/shim/command"
)

// Process is one that the runner was asked to execute.
type Process struct {
	id       uint32
	cmd      command.Command
	begun    chan error // has one value
	Terminal *os.File   // set when begun, if one was asked for
	status   syscall.WaitStatus
	ended    chan struct{} // closed when status is known, or never will be
	known    bool
}

// PID is the runner's process number on the host.
func (b *Box) PID() int { return b.pid }

// listen brings what the runner says to those who wait for it.
func (b *Box) listen() {
	defer b.gone()
	for {
		var m message
		data, files, err := b.conn.ReceiveData(context.Background())
		if err != nil {
			return
		}
		more, err := m.decode(data)
		if err != nil {
			packet.CloseAll(files)
			return
		}
		b.mu.Lock()
		run := b.runs[m.ID]
		b.mu.Unlock()
		if run == nil {
			packet.CloseAll(files)
			continue
		}
		b.heard(run, m, more, files)
	}
}

// heard takes in what the runner says of a process.
//
// The runner is confined as the task is, and no more to be trusted: what it says
// twice, or about nobody, must not hold the shim up.
func (b *Box) heard(run *Process, m message, more []byte, files []*os.File) {
	switch m.What {
	case begun:
		if len(files) == 1 && run.Terminal == nil {
			run.Terminal, files = files[0], nil
		}
		run.answer(nil)
	case failed:
		run.answer(explain(run.cmd, m.Number, more))
		b.end(run)
	case ended:
		run.status, run.known = syscall.WaitStatus(m.Number), true
		run.answer(nil)
		b.end(run)
	}
	packet.CloseAll(files)
}

// answer tells how the start went; the first answer counts.
func (p *Process) answer(err error) {
	select {
	case p.begun <- err:
	default:
	}
}

func (b *Box) end(run *Process) {
	b.mu.Lock()
	delete(b.runs, run.id)
	b.mu.Unlock()
	close(run.ended)
}

// gone ends the waiting of all when the runner is dead.
func (b *Box) gone() {
	b.mu.Lock()
	left := b.runs
	b.runs = nil
	b.mu.Unlock()
	for _, run := range left {
		run.answer(errors.New("cannot start: the sandbox is gone"))
		close(run.ended)
	}
	close(b.done)
}

// Start executes the task's main process on three streams.
func (b *Box) Start(cmd command.Command, streams []*os.File) (*Process, error) {
	return b.execute(mainID, cmd, streams)
}

// Exec executes another process beside it, on a terminal if there are no streams.
func (b *Box) Exec(cmd command.Command, streams []*os.File) (*Process, error) {
	return b.execute(b.last.Add(1), cmd, streams)
}

func (b *Box) execute(id uint32, cmd command.Command, streams []*os.File) (*Process, error) {
	file, err := order(cmd)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	run := &Process{id: id, cmd: cmd, begun: make(chan error, 1), ended: make(chan struct{})}
	b.mu.Lock()
	gone := b.runs == nil
	if !gone {
		b.runs[id] = run
	}
	b.mu.Unlock()
	if gone {
		return nil, errors.New("cannot start: the sandbox is gone")
	}
	err = b.conn.SendData(message{What: doRun, ID: id}.encode(), append([]*os.File{file}, streams...)...)
	if err != nil {
		return nil, fmt.Errorf("cannot start: cannot speak to the runner: %w", err)
	}
	return run, <-run.begun
}

// Ended is closed when the process has ended, or the sandbox has.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Status is how it ended, once it did; ok is false if it was killed with its
// sandbox.
func (p *Process) Status() (ws syscall.WaitStatus, ok bool) {
	<-p.ended
	return p.status, p.known
}

// Signal signals the processes of an Exec.
func (b *Box) Signal(p *Process, sig syscall.Signal) error {
	return b.conn.SendData(message{What: doSignal, ID: p.id, Number: uint32(sig)}.encode())
}
