package shim

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"agentctl/internal/crash"
	"agentctl/internal/fsx"
	"agentctl/runtime/internal/contain"
	"agentctl/runtime/internal/mounts"
	"agentctl/runtime/internal/netns"
	"agentctl/runtime/internal/packet"
	"agentctl/runtime/internal/record"
	"agentctl/runtime/shim/sandbox"
)

// Descriptors that package runtime hands down; from firstLease on they are only
// held.
const (
	lockFD     = 3
	wordFD     = 4
	firstLease = 5
)

// shim is the holder of one run.
type shim struct {
	dir     string
	run     *record.Run
	word    *os.File // to the starting agent: how the start went, and, by its end, that the run has ended
	console *console
	exit    *os.File // what exit.json will be, with room reserved
	box     box
	view    *mounts.View // nil for the host's
	started time.Time
	terms   chan os.Signal // wishes to stop

	orders *packet.Conn // of a sandbox that is made ahead
	held   []*os.File   // lock and leases that came with its order
	spare  string       // the folder that it was made in
}

// begin does all that comes before the task: when it fails, nothing has been
// started and nothing needs to be swept.
func (s *shim) begin() error {
	s.word = os.NewFile(wordFD, "word")
	if err := awaitMapping(); err != nil {
		return err
	}
	if err := closeOnExec(); err != nil {
		return err
	}
	// Each signal costs the runtime a change of threads.
	listening := make(chan struct{})
	go func() { s.listen(); close(listening) }()
	unix.Umask(0o022)
	// The orphans of the task become ours, whatever they do to leave.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("cannot become the reaper of orphans: %w", err)
	}
	var err error
	if s.run, err = record.ReadRun(s.dir); err != nil {
		return err
	}
	if s.run == nil {
		return fmt.Errorf("there is no order in %s", s.dir)
	}
	if s.run.Sandbox != nil {
		go wake(s.run.CgroupHome)
		go func(run *record.Run) { _, _ = sandbox.GroupDirs(run) }(s.run) // known then, when it is recorded
	}
	s.view = newView(s.run, s.dir)
	if s.run.Ahead {
		s.orders, err = packet.Open(orderFD)
	} else {
		err = s.openRun()
	}
	if err != nil {
		return err
	}
	s.box = newBox(s.run, s.dir)
	if s.view != nil {
		if err := mounts.Enter(); err != nil {
			return err
		}
	}
	// From the handle on, the agent may signal.
	<-listening
	return s.record()
}

// awaitMapping waits in a user namespace until somebody is mapped in it.
func awaitMapping() error {
	if os.Getenv(record.MappedVar) == "" {
		return nil
	}
	var one [1]byte
	for {
		_, err := unix.Read(record.MappedFD, one[:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && os.Geteuid() != 0 {
			err = errors.New("nobody is mapped")
		}
		if err != nil {
			return fmt.Errorf("cannot become root of the user namespace: %w", err)
		}
		return nil
	}
}

// openRun opens what the shim writes to in the run's folder.
func (s *shim) openRun() (err error) {
	if s.console, err = openConsole(s.dir); err != nil {
		return err
	}
	s.exit, err = reserve(s.dir)
	return err
}

// record writes the handle.
func (s *shim) record() error {
	st, err := contain.ReadStat(os.Getpid())
	if err != nil {
		return err
	}
	groups, err := sandbox.GroupDirs(s.run)
	if err != nil {
		return err
	}
	var pool *netns.Pool
	if s.run.Sandbox != nil {
		pool = s.run.Sandbox.Network.Pool
	}
	s.started = time.Now()
	crash.Point("shim.before-handle")
	err = fsx.ReplaceJSON(filepath.Join(s.dir, record.HandleFile), record.Handle{
		Version: record.Version, ID: s.run.ID, PID: st.PID, StartTicks: st.Start, BootID: s.run.BootID,
		Shim: s.run.Shim, Containment: s.run.Containment, MountNS: s.run.MountNS,
		Cgroup: s.run.Cgroup, Groups: groups, Pool: pool, Nonce: s.run.Nonce, Started: s.started,
	}, 0o600)
	crash.Point("shim.handle")
	return err
}

// closeOnExec keeps the lock, the leases and whatever else was handed down from
// the task, which would hold them for as long as it likes.
func closeOnExec() error {
	err := unix.CloseRange(lockFD, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	if err == nil {
		return nil
	}
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("cannot list the open files: %w", err)
	}
	for _, n := range names {
		if fd, err := strconv.Atoi(n.Name()); err == nil && fd >= lockFD {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// listen takes the signals that would end the shim; a handler, unlike ignoring
// them, is not inherited by the task, which gets the default back even where the
// agent was started with some of them ignored (nohup, a job of a script).
func (s *shim) listen() {
	s.terms = make(chan os.Signal, 1)
	signal.Notify(s.terms, syscall.SIGTERM)
	// Nobody reads these.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT, syscall.SIGXFSZ)
}

// exitRoom is more than an exit record needs, in bytes.
const exitRoom = 8 << 10

// reserve makes the file that will become exit.json, so that a disk which the
// task filled can't keep its end from being recorded.
func reserve(dir string) (*os.File, error) {
	path := filepath.Join(dir, "."+record.ExitFile+".tmp-0")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot make room for the exit record: %w", err)
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, exitRoom)
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.ENOSYS) {
		return nil, fmt.Errorf("cannot make room for the exit record: %w", &fs.PathError{Op: "fallocate", Path: path, Err: err})
	}
	return f, nil
}
