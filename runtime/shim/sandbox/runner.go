package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/landlock"
	"agentctl/runtime/internal/packet"
	"agentctl/runtime/shim/command"
)

// runnerSocket is the runner's end of the socket.
const runnerSocket = 3

// runner is process 1 of a sandbox. It is confined as the task is and has
// nothing that the task could not have, but for its socket.
type runner struct {
	conn *packet.Conn
	mu   sync.Mutex
	runs map[int]uint32 // process number → the shim's number
}

// RunnerMain is the program of process 1.
func RunnerMain() int {
	r, err := newRunner()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// All commands are started by this thread, which is scoped with what it starts. A
	// kernel that can't is told by audit and doctor.
	goruntime.LockOSThread()
	if landlock.Available() == nil {
		if err := landlock.Scope(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	shieldFromSignals()
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	go r.reap(children)
	return r.serve()
}

func newRunner() (*runner, error) {
	// With the shim dies the sandbox. What the shim's death before this line does
	// is told by the socket.
	err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
	if err == nil {
		// The task must not look into us by /proc: not at our socket, nor at what
		// passes through it.
		err = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot shield the runner: %w", err)
	}
	unix.CloseOnExec(runnerSocket)
	c, err := packet.Open(runnerSocket)
	if err != nil {
		return nil, fmt.Errorf("the runner is started by the shim, not by hand: %w", err)
	}
	return &runner{conn: c, runs: map[int]uint32{}}, nil
}

// serve does what the shim asks for until the shim is gone.
func (r *runner) serve() int {
	for {
		var m message
		files, err := r.conn.Receive(context.Background(), &m)
		if err != nil {
			return 1
		}
		switch m.What {
		case doRun:
			if err := r.run(m.ID, files); err != nil {
				_ = r.conn.Send(message{What: failed, ID: m.ID, Why: cut(err.Error(), 4096)})
			}
		case doSignal:
			r.signal(m.ID, syscall.Signal(m.Number))
		}
		packet.CloseAll(files)
	}
}

func cut(s string, n int) string { return strings.ToValidUTF8(s[:min(len(s), n)], "") }

// run executes a command on the streams that came with it, or on a terminal of
// the sandbox's own.
func (r *runner) run(id uint32, files []*os.File) error {
	if len(files) != 1 && len(files) != maxFiles {
		return errors.New("cannot start: the order is damaged")
	}
	var cmd command.Command
	err := packet.ReadFile(files[0], &cmd)
	if err != nil {
		return err
	}
	streams := files[1:]
	var terminal []*os.File
	if len(streams) == 0 {
		master, slave, err := openTerminal()
		if err != nil {
			return err
		}
		defer func() { _, _ = master.Close(), slave.Close() }()
		streams, terminal = []*os.File{slave, slave, slave}, []*os.File{master}
	}
	if cmd.Args[0], err = find(cmd); err != nil {
		return err
	}
	_ = os.MkdirAll(cmd.Cwd, 0o755) // as with Docker; that it is not there is told below
	attr := cmd.Attr([]uintptr{streams[0].Fd(), streams[1].Fd(), streams[2].Fd()})
	attr.Sys.Setctty = terminal != nil
	// Held, so that a child which ends at once is found by the reaper.
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := cmd.Exec(attr)
	if err != nil {
		return err
	}
	r.runs[pid] = id
	return r.conn.Send(message{What: begun, ID: id}, terminal...)
}

// find looks for a bare name along the command's own PATH.
func find(cmd command.Command) (string, error) {
	name := cmd.Args[0]
	if strings.Contains(name, "/") {
		return name, nil
	}
	path := "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	for _, kv := range cmd.Env {
		if value, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = value
		}
	}
	for _, dir := range filepath.SplitList(path) {
		full := filepath.Join("/", dir, name)
		if st, err := os.Stat(full); err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0 {
			return full, nil
		}
	}
	return "", fmt.Errorf("cannot start: %s is in none of the folders of PATH (%s)", name, path)
}

// reap collects the dead. With the main process the runner ends, and the kernel
// kills what is left.
func (r *runner) reap(children <-chan os.Signal) {
	for range children {
		for {
			var ws syscall.WaitStatus
			pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
			if errors.Is(err, syscall.EINTR) {
				continue
			}
			if err != nil || pid <= 0 {
				break
			}
			r.mu.Lock()
			id, ours := r.runs[pid]
			delete(r.runs, pid)
			r.mu.Unlock()
			if !ours {
				continue
			}
			_ = r.conn.Send(message{What: ended, ID: id, Number: uint32(ws)})
			if id == mainID {
				os.Exit(0) //nolint:forbidigo // the runner is process 1, and its end is the sandbox's
			}
		}
	}
}

func (r *runner) signal(id uint32, sig syscall.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for pid, run := range r.runs {
		if run == id {
			// The group that its terminal's session began with.
			_ = syscall.Kill(-pid, sig)
		}
	}
}

// openTerminal makes a pseudo-terminal of the sandbox's own devpts. The task can
// change /dev, so what is opened is looked at.
func openTerminal() (master, slave *os.File, err error) {
	const devptsMagic = 0x1cd1
	fd, err := unix.Open("/dev/pts/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot open a terminal: %w", err)
	}
	master = os.NewFile(uintptr(fd), "ptmx")
	var fs unix.Statfs_t
	if err = unix.Fstatfs(fd, &fs); err == nil && fs.Type != devptsMagic {
		err = errors.New("/dev/pts is not what it was")
	}
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	var peer uintptr
	if err == nil {
		// The first terminal that a leader of a session opens would be the runner's own.
		var errno unix.Errno
		peer, _, errno = unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
		if errno != 0 {
			err = errno
		}
	}
	if err != nil {
		_ = master.Close()
		return nil, nil, fmt.Errorf("cannot open a terminal: %w", err)
	}
	return master, os.NewFile(peer, "pts"), nil
}
