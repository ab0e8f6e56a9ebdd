package shim

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"agentctl/runtime/internal/packet"
	"agentctl/runtime/internal/record"
	"agentctl/runtime/shim/command"
	"agentctl/runtime/shim/sandbox"
)

// execs serves what the agent wants executed in the sandbox beside the task.
type execs struct {
	box      *sandbox.Box
	dir      string
	uid, gid int // the task's user on the host
	listener *packet.Listener
	serving  sync.WaitGroup
	ctx      context.Context // ends with the task
	end      context.CancelFunc
}

// serveExec begins to listen. A sandbox without it is no failure of the task.
func (s *shim) serveExec() *execs {
	b, ok := s.box.(*sandboxed)
	if !ok {
		return nil
	}
	l, err := packet.Listen(s.dir, record.ExecSocket)
	if err != nil {
		s.console.say("cannot serve exec: %v", err)
		return nil
	}
	e := &execs{box: b.made, dir: s.dir, listener: l}
	e.uid, e.gid = owner(s.run)
	e.ctx, e.end = context.WithCancel(context.Background())
	e.serving.Go(e.accept)
	return e
}

func (e *execs) accept() {
	for {
		c, err := e.listener.Accept()
		if err != nil {
			return
		}
		e.serving.Go(func() {
			if err := e.serve(c); err != nil {
				_ = c.Send(record.Execed{Failed: err.Error()})
			}
			_ = c.Close()
		})
	}
}

// stop ends the listening, when the sandbox is gone and with it all that ran there.
func (e *execs) stop() {
	if e == nil {
		return
	}
	_ = os.Remove(filepath.Join(e.dir, record.ExecSocket))
	_ = e.listener.Close()
	e.end() // one who has not said yet what he wants
	e.serving.Wait()
}

// serve executes one process and tells how it ended.
func (e *execs) serve(c *packet.Conn) error {
	uid, err := c.Peer()
	if err != nil {
		return err
	}
	if uid != 0 && uid != os.Geteuid() {
		return fmt.Errorf("user %d may not execute anything here", uid)
	}
	var head record.ExecOrder
	files, err := c.Receive(e.ctx, &head)
	if err != nil {
		return err
	}
	defer func() { packet.CloseAll(files) }()
	if head.Version > record.Version || len(files) != 1 && len(files) != 4 {
		return fmt.Errorf("cannot execute: the order is of version %d with %d files, this shim knows version %d with four or one", head.Version, len(files), record.Version)
	}
	var order record.Exec
	if err := packet.ReadFile(files[0], &order); err != nil {
		return err
	}
	_ = files[0].Close()
	files = files[1:]
	if err := order.Validate(); err != nil {
		return err
	}
	e.give(files)
	p, err := e.box.Exec(command.Command{Args: order.Args, Env: order.Env, Cwd: order.Cwd, UID: -1, GID: -1}, files)
	if err != nil {
		return err
	}
	// The caller's pipes end when the process closes them, not when we do.
	packet.CloseAll(files)
	files = nil
	var terminal []*os.File
	if p.Terminal != nil {
		defer func() { _ = p.Terminal.Close() }()
		terminal = []*os.File{p.Terminal}
	}
	// A caller who has gone meanwhile takes the process along below, as one who goes later.
	_ = c.Send(record.Execed{Running: true}, terminal...)
	return e.finish(c, p)
}

// give makes pipes the task's user's, so that it can open /dev/stdout again. One
// that can't be given does for all else.
func (e *execs) give(files []*os.File) {
	for _, f := range files {
		if st, err := f.Stat(); err == nil && st.Mode()&os.ModeNamedPipe != 0 {
			_ = f.Chown(e.uid, e.gid)
		}
	}
}

// finish waits for the process, or for the caller to go, who takes it along.
func (e *execs) finish(c *packet.Conn, p *sandbox.Process) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	left := make(chan struct{})
	go func() {
		defer close(left)
		var nothing struct{}
		_, _ = c.Receive(ctx, &nothing) // ends when the caller closes
	}()
	select {
	case <-p.Ended():
		cancel()
		<-left
	case <-left:
		_ = e.box.Signal(p, syscall.SIGHUP)
		_ = e.box.Signal(p, syscall.SIGKILL)
		<-p.Ended()
	}
	exit := record.Exit{Code: 128 + int(syscall.SIGKILL)}
	if ws, ok := p.Status(); ok {
		exit = describe(ws)
	}
	_ = c.Send(record.Execed{Ended: true, Code: exit.Code})
	return nil
}
