package frame

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Write appends data to f, which is open with O_APPEND, each frame by one write,
// so that frames of several processes do not mix. It tells how many bytes of
// data are in whole frames.
//
// f is locked for the time: the shim, when it takes back a torn frame of its own,
// must not cut off ours.
func Write(f *os.File, stream Stream, at time.Time, data []byte) (int, error) {
	fd := int(f.Fd())
	if err := flock(fd, unix.LOCK_EX); err != nil {
		return 0, fmt.Errorf("cannot lock the console: %w", err)
	}
	defer func() { _ = flock(fd, unix.LOCK_UN) }()
	done := 0
	for done < len(data) {
		n := min(len(data)-done, MaxData)
		buf := Append(make([]byte, 0, Header+n), stream, at, data[done:done+n])
		if _, err := writeOnce(fd, buf); err != nil {
			return done, fmt.Errorf("cannot write to the console: %w", err)
		}
		done += n
	}
	return done, nil
}

// writeOnce does not go on after a part was written: another process may have
// appended behind that part. It tells how many bytes it wrote.
func writeOnce(fd int, buf []byte) (int, error) {
	for {
		n, err := unix.Write(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err == nil && n < len(buf) {
			err = io.ErrShortWrite
		}
		return max(n, 0), err
	}
}

func flock(fd, how int) error {
	for {
		if err := unix.Flock(fd, how); err != unix.EINTR {
			return err
		}
	}
}

// Writer appends frames for the one process that writes most of them: it takes
// no lock, and takes back what a full disk left of a frame.
type Writer struct{ fd int }

// NewWriter writes to f, which is open for reading and writing with O_APPEND and
// stays the caller's.
func NewWriter(f *os.File) *Writer { return &Writer{int(f.Fd())} }

// Write appends whole frames, by one write: all of them or, in the end, none.
func (w *Writer) Write(frames []byte) error {
	n, err := writeOnce(w.fd, frames)
	if err != nil && n > 0 {
		return w.complete(frames[:n], frames[n:])
	}
	return err
}

// complete goes on after a part was written, or cuts the part off again: behind
// a torn frame readers have to guess where the next one begins. If somebody has
// appended behind the part meanwhile, neither can be done.
func (w *Writer) complete(part, rest []byte) error {
	if err := flock(w.fd, unix.LOCK_EX); err != nil {
		return err
	}
	defer func() { _ = flock(w.fd, unix.LOCK_UN) }()
	var st unix.Stat_t
	if err := unix.Fstat(w.fd, &st); err != nil {
		return err
	}
	start := st.Size - int64(len(part))
	tail := make([]byte, len(part))
	if n, err := unix.Pread(w.fd, tail, start); err != nil || n != len(tail) || !bytes.Equal(tail, part) {
		return io.ErrShortWrite
	}
	_, err := writeOnce(w.fd, rest)
	if err != nil {
		_ = unix.Ftruncate(w.fd, start)
	}
	return err
}
