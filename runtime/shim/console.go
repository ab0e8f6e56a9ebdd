package shim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/frame"
	"agentctl/runtime/internal/record"
)

const (
	pipeSize = 1 << 20
	readSize = 256 << 10
	// smallRead is the size below which a read is followed by a pause, so that a
	// flood of short lines comes in few frames. The pause is after the frame was
	// written: nothing waits for it.
	smallRead  = readSize / 8
	batchPause = 2 * time.Millisecond
)

// console writes the task's output. It never fails the task: what can't be
// written is counted, dropped, and told in the next frame that can be.
type console struct {
	mu      sync.Mutex
	w       *frame.Writer
	f       *os.File
	lost    int64
	why     error
	backlog backlog
}

func openConsole(dir string) (*console, error) {
	path := filepath.Join(dir, record.ConsoleFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the console: %w", err)
	}
	return &console{f: f, w: frame.NewWriter(f), backlog: backlog{dir: dir, f: f, most: mostBehind}}, nil
}

// put appends what stands in buf behind frame.Header bytes of room.
func (c *console) put(buf []byte, stream frame.Stream, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	frame.Put(buf, stream, at)
	size, frames := int64(len(buf)-frame.Header), buf
	if stream != frame.Agent && !c.backlog.room(int64(len(buf)), at) {
		c.lost, c.why = c.lost+size, errBehind
		return
	}
	if c.lost > 0 {
		// Told only together with what comes through again: a line of its own would
		// fit where nothing else does, and again, and again.
		frames = append(c.missing(), buf...)
	}
	if err := c.w.Write(frames); err != nil {
		c.lost, c.why = c.lost+size, err
		return
	}
	c.lost = 0
}

// say appends a line of the shim's own.
func (c *console) say(format string, args ...any) {
	line := fmt.Sprintf("agentctl: "+format+"\n", args...)
	c.put(append(make([]byte, frame.Header), line...), frame.Agent, time.Now())
}

// missing is a frame that tells what was lost.
func (c *console) missing() []byte {
	note := fmt.Sprintf("agentctl: %d bytes of output are missing here: %v\n", c.lost, c.why)
	return frame.Append(nil, frame.Agent, time.Now(), []byte(note))
}

// finish tells what was lost in the end.
func (c *console) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost > 0 && c.w.Write(c.missing()) == nil {
		c.lost = 0
	}
}

// pump brings one stream of the task to the console.
type pump struct {
	console *console
	stream  frame.Stream
	r       *os.File
	ending  <-chan struct{} // closed when there is no more use in batching
}

// newPump makes the pipe of a stream; the task gets w, owned by its user so that
// it can open /dev/stdout again.
func newPump(c *console, stream frame.Stream, uid, gid int, ending <-chan struct{}) (p *pump, w *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, fmt.Errorf("cannot make a pipe: %w", err)
	}
	w = os.NewFile(uintptr(fds[1]), stream.String())
	// A user with many pipes may get no more than the usual 64 KiB.
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, pipeSize)
	if uid != -1 {
		err = unix.Fchown(fds[1], uid, gid)
	}
	if err == nil {
		err = unix.SetNonblock(fds[0], true)
	}
	p = &pump{console: c, stream: stream, r: os.NewFile(uintptr(fds[0]), stream.String()), ending: ending}
	return p, w, err
}

// run reads until nobody can write any more, or the read deadline set by the end
// of the task has passed.
func (p *pump) run() {
	buf := make([]byte, frame.Header+readSize)
	for {
		n, err := p.r.Read(buf[frame.Header:])
		if n > 0 {
			p.console.put(buf[:frame.Header+n], p.stream, time.Now())
		}
		if err != nil && !errors.Is(err, syscall.EAGAIN) {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				p.rest(buf)
			}
			_ = p.r.Close()
			return
		}
		if n < smallRead {
			p.pause()
		}
	}
}

// rest reads what lies in the pipe when the deadline has passed: on a disk that was slow,
// not on a process that writes on, the time may have been spent.
func (p *pump) rest(buf []byte) {
	raw, err := p.r.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { // with no deadline
		for left := pipeSize; left > 0; {
			n, err := unix.Read(int(fd), buf[frame.Header:])
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if n <= 0 {
				return
			}
			p.console.put(buf[:frame.Header+n], p.stream, time.Now())
			left -= n
		}
	})
}

func (p *pump) pause() {
	t := time.NewTimer(batchPause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-p.ending:
	}
}
