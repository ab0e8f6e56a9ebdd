package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/opencontainers/cgroups"
	_ "github.com/opencontainers/cgroups/devices" // without it device rules are refused
	"github.com/opencontainers/cgroups/manager"
	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"

	"agentctl/internal/crash"
	"agentctl/runtime/internal/mounts"
	"agentctl/runtime/internal/record"
	"agentctl/runtime/shim/command"
)

// Box is a sandbox that was made. Its methods may be called from several
// goroutines, unless they say otherwise.
type Box struct {
	run    *record.Run
	stage  *stage
	parts  *parts
	groups cgroups.Manager
	pid    int
	conn   conn
	null   *os.File

	last atomic.Uint32 // the number given last
	mu   sync.Mutex
	runs map[uint32]*Process
	done chan struct{} // closed when the runner is gone
	main Process
}

// Process is one that the runner was asked to execute.
type Process struct {
	id       uint32
	begun    chan error // has one value
	Terminal *os.File   // set when begun, if one was asked for
	status   syscall.WaitStatus
	ended    chan struct{} // closed when status is known, or never will be
	known    bool
}

// Gather begins making what a run's sandbox consists of. It must be called before
// Create, which waits for it.
func Gather(run *record.Run) <-chan Gathered {
	ch := make(chan Gathered, 1)
	go func() {
		p, err := gather(run)
		ch <- Gathered{p, err}
	}()
	return ch
}

// Gathered is what Gather made.
type Gathered struct {
	parts *parts
	err   error
}

// Create makes the sandbox in which the run is to be, with dir as a place to
// mount to. It must be called on a locked thread that is never unlocked, whose
// mounts and whose death are the sandbox's.
func Create(run *record.Run, dir string, gathered <-chan Gathered) (*Box, error) {
	g := <-gathered
	if g.err != nil {
		return nil, g.err
	}
	b := &Box{run: run, stage: &stage{run: run}, parts: g.parts, runs: map[uint32]*Process{}, done: make(chan struct{})}
	if err := b.create(dir); err != nil {
		return nil, fmt.Errorf("cannot make the sandbox: %w", err)
	}
	b.parts.close()
	return b, nil
}

func (b *Box) create(dir string) error {
	if err := mounts.Enter(); err != nil {
		return err
	}
	if err := b.stage.place(dir, b.parts); err != nil {
		return err
	}
	if err := b.stage.build(b.parts); err != nil {
		return err
	}
	crash.Point("sandbox.staged")
	cfg, err := b.stage.config(b.parts)
	if err != nil {
		return err
	}
	if cfg.Rlimits, err = rlimits(b.run.Sandbox.Ulimits); err != nil {
		return err
	}
	if b.groups, err = manager.New(cfg.Cgroups); err != nil {
		return err
	}
	c, err := libcontainer.Create(b.stage.at("state"), "box", cfg)
	if err != nil {
		return err
	}
	if b.null, err = os.OpenFile(os.DevNull, os.O_RDWR, 0); err != nil {
		return err
	}
	return b.runRunner(c)
}

// runRunner has libcontainer start the runner.
func (b *Box) runRunner(c *libcontainer.Container) error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot make a socket: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "runner")
	defer func() { _ = theirs.Close() }()
	if b.conn, err = newConn(fds[0]); err != nil {
		return err
	}
	groups := b.run.Groups
	p := &libcontainer.Process{
		Args: []string{runnerPath}, Env: []string{"GOMAXPROCS=1"}, Cwd: "/", Init: true,
		UID: max(b.run.UID, 0), GID: max(b.run.GID, 0), AdditionalGroups: groups,
		Stdin: b.null, Stdout: b.null, Stderr: os.Stderr, ExtraFiles: []*os.File{theirs},
	}
	if err := c.Start(p); err != nil {
		return err
	}
	crash.Point("sandbox.created")
	if b.pid, err = p.Pid(); err != nil {
		return err
	}
	if err := release(b.stage.at("state", "box", "exec.fifo"), b.pid); err != nil {
		return errors.Join(err, syscall.Kill(b.pid, syscall.SIGKILL))
	}
	go b.listen()
	return nil
}

// release lets libcontainer's init execute the runner. Container.Run would do it
// on another thread, which does not see the stage.
func release(fifo string, pid int) error {
	f, err := os.OpenFile(fifo, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("cannot start the runner: %w", err)
	}
	defer func() { _ = f.Close() }()
	for {
		_ = f.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		var zero [1]byte
		n, err := f.Read(zero[:])
		if n == 1 {
			return nil
		}
		var dead syscall.WaitStatus
		if got, _ := syscall.Wait4(pid, &dead, syscall.WNOHANG, nil); got == pid {
			return fmt.Errorf("cannot start the runner: its init ended with %#x", int(dead))
		}
		switch {
		case errors.Is(err, io.EOF): // nobody has opened it yet
			time.Sleep(200 * time.Microsecond)
		case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
			return fmt.Errorf("cannot start the runner: %w", err)
		}
	}
}

// PID is the runner's process number on the host.
func (b *Box) PID() int { return b.pid }

// listen brings what the runner says to those who wait for it.
func (b *Box) listen() {
	defer b.gone()
	for {
		p, err := b.conn.receive()
		if err != nil {
			return
		}
		b.mu.Lock()
		run := b.runs[p.id]
		b.mu.Unlock()
		if run == nil {
			p.close()
			continue
		}
		b.heard(run, p)
	}
}

func (b *Box) heard(run *Process, p packet) {
	switch p.tag {
	case tagBegun:
		if len(p.files) == 1 {
			run.Terminal, p.files = p.files[0], nil
		}
		run.begun <- nil
	case tagFailed:
		run.begun <- errors.New(string(p.data))
		b.end(run)
	case tagEnded:
		run.status, run.known = syscall.WaitStatus(p.number()), true
		b.end(run)
	}
	p.close()
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
		select {
		case run.begun <- errors.New("cannot start: the sandbox is gone"):
		default: // it has begun
		}
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
	file, err := commandFile(cmd)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	run := &Process{id: id, begun: make(chan error, 1), ended: make(chan struct{})}
	b.mu.Lock()
	gone := b.runs == nil
	if !gone {
		b.runs[id] = run
	}
	b.mu.Unlock()
	if gone {
		return nil, errors.New("cannot start: the sandbox is gone")
	}
	err = b.conn.send(packet{tag: tagRun, id: id, files: append([]*os.File{file}, streams...)})
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
	return b.conn.send(packet{tag: tagSignal, id: p.id, data: number(uint32(sig))})
}

// Kill kills all that is in the sandbox, once. A frozen one dies when it is thawed.
func (b *Box) Kill() error {
	err := syscall.Kill(b.pid, syscall.SIGKILL)
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	if st, ferr := b.groups.GetFreezerState(); ferr == nil && st == cgroups.Frozen {
		_ = b.groups.Freeze(cgroups.Thawed)
	}
	return err
}

// Groups are the folders of the sandbox's cgroups.
func (b *Box) Groups() []string {
	var dirs []string
	for _, dir := range b.groups.GetPaths() {
		dirs = append(dirs, filepath.Clean(dir))
	}
	return dirs
}

// OutOfMemory tells whether the kernel killed something for the memory limit.
func (b *Box) OutOfMemory() bool {
	n, err := b.groups.OOMKillCount()
	return err == nil && n > 0
}

// Limit sets limits anew.
func (b *Box) Limit(r record.Resources) error {
	cfg, err := limits(r)
	if err == nil {
		err = b.groups.Set(cfg)
	}
	if err != nil {
		return fmt.Errorf("cannot limit the task: %w", err)
	}
	return nil
}

// Remove takes down what is left of the sandbox when all of it is dead.
func (b *Box) Remove() error {
	_ = b.conn.f.Close()
	_ = b.null.Close()
	if err := b.groups.Destroy(); err != nil {
		return fmt.Errorf("cannot remove the cgroups: %w", err)
	}
	return nil
}
