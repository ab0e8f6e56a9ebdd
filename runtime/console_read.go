package runtime

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"agentctl/runtime/internal/frame"
	"agentctl/runtime/internal/record"
)

// Frame is one piece of a console. Data is the caller's to keep.
type Frame struct {
	Stream string
	Time   time.Time
	Data   []byte
	// Start and End are the offsets of the frame and behind it in the console
	// file; they never change, so OpenConsole goes on at End.
	Start, End int64
}

const (
	readSize = 64 << 10
	// tornAfter is how long the end of a frame may be missing before the frames
	// behind it are looked for. A living writer needs far less.
	tornAfter = time.Second
	// lookAgain bounds what a lost notification can cost.
	lookAgain = time.Second
)

// ConsoleReader reads the console of a run from a place on and follows it while
// it grows. One goroutine at a time may call Next.
type ConsoleReader struct {
	dir      string
	f        *os.File // nil until the console exists
	watch    *watch
	store    []byte // holds buf
	buf      []byte // what was read from pos on
	pos      int64
	short    time.Time // since when the frame at pos is cut off; zero if it is not
	finished atomic.Bool
}

// OpenConsole reads the console in dir from the frame at offset from on; the
// file need not exist yet. It follows with inotify, or looks again and again
// where the kernel has no watch left.
func OpenConsole(dir string, from int64) (*ConsoleReader, error) {
	if from < 0 {
		return nil, fmt.Errorf("cannot open the console at offset %d", from)
	}
	return &ConsoleReader{dir: dir, pos: from, watch: newWatch(dir)}, nil
}

// Next returns the next frame. It waits for one until ctx ends, and fails with
// io.EOF when everything is read and the run has ended, or Finish was called.
// A frame that a killed process left unfinished is skipped.
func (r *ConsoleReader) Next(ctx context.Context) (Frame, error) {
	for {
		if f, ok, err := r.read(false); err != nil || ok {
			return f, err
		}
		// What was written before the end is on disk when the end is seen.
		if r.ended() {
			f, ok, err := r.read(true)
			if err == nil && !ok {
				err = io.EOF
			}
			return f, err
		}
		if err := r.watch.wait(ctx, r.patience()); err != nil {
			return Frame{}, err
		}
	}
}

// Finish says that nothing more will be written: Next reads what is there and
// then fails with io.EOF, whether or not there is an exit record. It may be
// called from any goroutine.
func (r *ConsoleReader) Finish() {
	r.finished.Store(true)
	r.watch.wake()
}

// Close ends the reader; no Next may be running.
func (r *ConsoleReader) Close() error {
	err := r.watch.close()
	if r.f != nil {
		err = errors.Join(err, r.f.Close())
	}
	return err
}

func (r *ConsoleReader) ended() bool {
	if r.finished.Load() {
		return true
	}
	_, err := os.Lstat(filepath.Join(r.dir, record.ExitFile))
	return err == nil
}

// patience is how long to wait for a notification.
func (r *ConsoleReader) patience() time.Duration {
	if r.short.IsZero() {
		return lookAgain
	}
	return max(time.Until(r.short.Add(tornAfter)), time.Millisecond)
}

// read returns the next frame that is on disk, if there is one.
func (r *ConsoleReader) read(ended bool) (Frame, bool, error) {
	for {
		f, size, err := frame.Decode(r.buf)
		switch {
		case err == nil:
			return r.take(f, size), true, nil
		case errors.Is(err, frame.ErrTorn):
			r.skip(frame.Next(r.buf))
			continue
		}
		grown, err := r.fill(max(size-len(r.buf), 1))
		if err != nil {
			return Frame{}, false, err
		}
		if grown {
			continue
		}
		if !r.giveUp(ended) {
			return Frame{}, false, nil
		}
	}
}

func (r *ConsoleReader) take(f frame.Frame, size int) Frame {
	out := Frame{
		Stream: f.Stream.String(), Time: f.Time, Data: append([]byte(nil), f.Data...),
		Start: r.pos, End: r.pos + int64(size),
	}
	r.skip(size)
	return out
}

func (r *ConsoleReader) skip(n int) {
	r.buf, r.pos, r.short = r.buf[n:], r.pos+int64(n), time.Time{}
}

// fill reads at least one more byte, if the file has one; want is a hint.
func (r *ConsoleReader) fill(want int) (bool, error) {
	if r.f == nil {
		f, err := os.Open(filepath.Join(r.dir, record.ConsoleFile))
		if errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("cannot read the console: %w", err)
		}
		r.f = f
	}
	r.makeRoom(want)
	n, err := r.f.ReadAt(r.buf[len(r.buf):cap(r.buf)], r.pos+int64(len(r.buf)))
	if err != nil && !errors.Is(err, io.EOF) {
		return false, fmt.Errorf("cannot read the console: %w", err)
	}
	r.buf = r.buf[:len(r.buf)+n]
	return n > 0, nil
}

// makeRoom lets buf grow in place by want bytes. A hostile length can't make it
// larger than two frames: Decode refuses longer ones.
func (r *ConsoleReader) makeRoom(want int) {
	if cap(r.buf)-len(r.buf) >= want {
		return
	}
	if len(r.store) < len(r.buf)+want {
		r.store = make([]byte, max(readSize, 2*(len(r.buf)+want)))
	}
	r.buf = r.store[:copy(r.store, r.buf)]
}

// giveUp skips a frame whose end does not come, if a good one stands behind it
// or the run has ended. It tells whether to look again.
func (r *ConsoleReader) giveUp(ended bool) bool {
	if len(r.buf) == 0 {
		return false
	}
	if r.short.IsZero() {
		r.short = time.Now()
	}
	if !ended && time.Since(r.short) < tornAfter {
		return false
	}
	for at := frame.Next(r.buf); at < len(r.buf); at += frame.Next(r.buf[at:]) {
		if _, _, err := frame.Decode(r.buf[at:]); err == nil {
			r.skip(at)
			return true
		}
	}
	return false
}
