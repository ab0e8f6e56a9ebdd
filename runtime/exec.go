package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/packet"
	"agentctl/runtime/internal/record"
)

// ExecConfig is a process to be executed beside a running task.
type ExecConfig struct {
	// Args is the command; a name without a slash is looked for along Env's PATH.
	Args []string
	// Env is its whole environment; nil is the task's.
	Env []string
	// Cwd is the working folder inside; "" is the task's.
	Cwd string
	// TTY gives the process a terminal, in place of three streams; what it writes
	// then goes to Stdout. Resize tells the terminal's size, and later ones.
	TTY    bool
	Resize <-chan Size
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
}

// Size is that of a terminal, in characters.
type Size struct{ Rows, Columns uint16 }

// lastOutput bounds the reading of what a process wrote before its end.
const lastOutput = 2 * time.Second

// ErrNoExec means that nothing can be executed beside the task.
var ErrNoExec = errors.New("the task runs in no sandbox, or has ended")

// Exec executes a process in the sandbox of the task that runs in dir, as
// confined as the task is, and returns its exit code. When ctx ends the process
// is killed.
func Exec(ctx context.Context, dir string, c ExecConfig) (int, error) {
	code, err := execIn(ctx, dir, c)
	if err != nil {
		return -1, fmt.Errorf("cannot execute in the task's sandbox: %w", err)
	}
	return code, nil
}

func execIn(ctx context.Context, dir string, c ExecConfig) (int, error) {
	run, err := record.ReadRun(dir)
	if err != nil {
		return 0, err
	}
	if run == nil || run.Sandbox == nil {
		return 0, ErrNoExec
	}
	order := record.Exec{Args: c.Args, Env: c.Env, Cwd: c.Cwd}
	if order.Cwd == "" {
		order.Cwd = run.Cwd
	}
	if c.Env == nil {
		order.Env = run.Env
	}
	if err := order.Validate(); err != nil {
		return 0, err
	}
	conn, err := packet.Dial(ctx, dir, record.ExecSocket)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ECONNREFUSED) {
		return 0, ErrNoExec
	}
	if err != nil {
		return 0, err
	}
	defer func() { _ = conn.Close() }()
	s := &streams{config: c}
	theirs, err := s.open()
	var file *os.File
	if err == nil {
		file, err = packet.File(order)
	}
	if err == nil {
		theirs = append([]*os.File{file}, theirs...)
		err = conn.Send(record.ExecOrder{Version: record.Version}, theirs...)
	}
	packet.CloseAll(theirs)
	if err != nil {
		s.end()
		return 0, err
	}
	return s.follow(ctx, conn)
}

// streams brings a process's input and output.
type streams struct {
	config  ExecConfig
	ours    []*os.File
	copying sync.WaitGroup // of what it writes
	done    chan struct{}
}

// open makes the pipes of a process without a terminal, and returns its ends.
func (s *streams) open() (theirs []*os.File, err error) {
	s.done = make(chan struct{})
	if s.config.TTY {
		return nil, nil
	}
	for i := range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			packet.CloseAll(theirs)
			return nil, err
		}
		here, there := r, w
		if i == 0 {
			here, there = w, r
		}
		s.ours, theirs = append(s.ours, here), append(theirs, there)
	}
	go s.feed(s.ours[0])
	s.copying.Go(func() { s.drain(s.config.Stdout, s.ours[1]) })
	s.copying.Go(func() { s.drain(s.config.Stderr, s.ours[2]) })
	return theirs, nil
}

// feed copies the input. A caller whose reader never returns keeps this goroutine,
// as with os/exec.
func (s *streams) feed(w *os.File) {
	if s.config.Stdin != nil {
		_, _ = io.Copy(w, s.config.Stdin)
	}
	if !s.config.TTY {
		_ = w.Close()
	}
}

func (s *streams) drain(to io.Writer, from *os.File) {
	if to == nil {
		to = io.Discard
	}
	// A caller who takes no more must not hold the process up.
	if _, err := io.Copy(to, from); err != nil {
		_, _ = io.Copy(io.Discard, from)
	}
}

// terminal copies to and from the other end of the process's terminal.
func (s *streams) terminal(files []*os.File) error {
	if !s.config.TTY {
		packet.CloseAll(files)
		return nil
	}
	if len(files) != 1 {
		packet.CloseAll(files)
		return errors.New("the sandbox gave no terminal")
	}
	defer packet.CloseAll(files)
	if _, err := unix.IoctlGetWinsize(int(files[0].Fd()), unix.TIOCGWINSZ); err != nil {
		return errors.New("what the sandbox gave is no terminal")
	}
	// Non-blocking from its opening on, so that closing it ends the reading.
	fd, err := unix.FcntlInt(files[0].Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		return fmt.Errorf("cannot use the terminal: %w", err)
	}
	master := os.NewFile(uintptr(fd), "terminal")
	s.ours = []*os.File{master}
	go s.feed(master)
	go s.resize(fd)
	s.copying.Go(func() { s.drain(s.config.Stdout, master) })
	return nil
}

func (s *streams) resize(fd int) {
	for {
		select {
		case <-s.done:
			return
		case size, ok := <-s.config.Resize:
			if !ok {
				return
			}
			_ = unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Columns})
		}
	}
}

// follow waits for the end of the process.
func (s *streams) follow(ctx context.Context, conn *packet.Conn) (int, error) {
	defer s.end()
	for {
		var word record.Execed
		files, err := conn.Receive(ctx, &word)
		switch {
		case errors.Is(err, io.EOF):
			return 0, errors.New("the sandbox is gone")
		case err != nil:
			return 0, err
		case word.Failed != "":
			packet.CloseAll(files)
			return 0, errors.New(word.Failed)
		case word.Running:
			if err := s.terminal(files); err != nil {
				return 0, err
			}
		case word.Ended:
			packet.CloseAll(files)
			// What it left behind may hold its streams for as long as it likes.
			for _, f := range s.ours {
				_ = f.SetReadDeadline(time.Now().Add(lastOutput))
			}
			s.copying.Wait()
			return word.Code, nil
		}
	}
}

// end closes what is open, and waits until nothing is written any more.
func (s *streams) end() {
	close(s.done)
	packet.CloseAll(s.ours)
	s.copying.Wait()
}
