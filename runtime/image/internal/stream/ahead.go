package stream

import (
	"hash"
	"io"
	"sync"
)

// buffer is read at once by Ahead.
const buffer = 256 << 10

// Ahead reads r in a goroutine of its own, some buffers ahead of its reader, and
// hashes what comes.
type Ahead struct {
	full, free chan []byte
	rest       []byte // of the buffer that is being read
	buf        []byte // that buffer
	stop       chan struct{}
	once       sync.Once
	done       sync.WaitGroup
	err        error // of r, once full is closed
}

// NewAhead begins to read. sum may be nil; it is complete once the end was read.
func NewAhead(r io.Reader, sum hash.Hash, buffers int) *Ahead {
	a := &Ahead{full: make(chan []byte, buffers), free: make(chan []byte, buffers), stop: make(chan struct{})}
	for range buffers {
		a.free <- nil
	}
	a.done.Go(func() { a.run(r, sum) })
	return a
}

func (a *Ahead) run(r io.Reader, sum hash.Hash) {
	defer close(a.full)
	for {
		var b []byte
		select {
		case b = <-a.free:
		case <-a.stop:
			a.err = io.ErrClosedPipe
			return
		}
		if b == nil {
			b = make([]byte, buffer)
		}
		n, err := fill(r, b[:cap(b)])
		if sum != nil {
			_, _ = sum.Write(b[:n])
		}
		if n > 0 {
			a.full <- b[:n]
		}
		if err != nil {
			a.err = err
			return
		}
	}
}

// fill reads until b is full enough to be worth handing over.
func fill(r io.Reader, b []byte) (n int, err error) {
	for n < len(b)/2 && err == nil {
		var m int
		m, err = r.Read(b[n:])
		n += m
	}
	return n, err
}

// Read implements io.Reader.
func (a *Ahead) Read(p []byte) (int, error) {
	if len(a.rest) == 0 {
		if a.buf != nil {
			a.free <- a.buf
			a.buf = nil
		}
		b, ok := <-a.full
		if !ok {
			return 0, a.err
		}
		a.buf, a.rest = b, b
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// Close ends the reading and waits for it. r must not block for ever.
func (a *Ahead) Close() error {
	a.once.Do(func() { close(a.stop) })
	a.done.Wait()
	return nil
}
