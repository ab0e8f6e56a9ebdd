package unpack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	smallBuffer, smallBuffers = 32 << 10, 128
	largeBuffer, largeBuffers = 256 << 10, 16
	queued                    = 64 // files that wait for one writer
)

// job is a file or a link to be made.
type job struct {
	dir    *dir
	name   string
	rel    string // for messages
	meta   meta
	target string      // of a link
	body   chan []byte // of a file: buffers in order, closed at its end
	size   int64
	sparse bool
}

// writers make the files of a layer. Those of one folder are made by one of them, in
// order: side by side they would wait for the lock of the folder.
type writers struct {
	opts         Options
	queues       []chan job
	pending      sync.WaitGroup // jobs
	running      sync.WaitGroup // goroutines
	small, large chan []byte    // free buffers
	fail         context.CancelCauseFunc
	ctx          context.Context
}

func startWriters(ctx context.Context, o Options) *writers {
	n := o.Writers
	if n <= 0 {
		n = 4
	}
	w := &writers{opts: o, queues: make([]chan job, n), small: make(chan []byte, smallBuffers), large: make(chan []byte, largeBuffers)}
	w.ctx, w.fail = context.WithCancelCause(ctx)
	for range smallBuffers {
		w.small <- nil
	}
	for range largeBuffers {
		w.large <- nil
	}
	for i := range w.queues {
		w.queues[i] = make(chan job, queued)
		w.running.Go(func() { w.run(w.queues[i]) })
	}
	return w
}

// close waits for all that was begun and gives the first failure.
func (w *writers) close() error {
	for _, q := range w.queues {
		close(q)
	}
	w.running.Wait()
	err := context.Cause(w.ctx)
	w.fail(nil)
	return err
}

// settle waits until all files are made.
func (w *writers) settle() error {
	w.pending.Wait()
	return context.Cause(w.ctx)
}

// buffer gives a free one for size bytes, or for a part of them.
func (w *writers) buffer(size int64) ([]byte, error) {
	free, length := w.small, smallBuffer
	if size > smallBuffer {
		free, length = w.large, largeBuffer
	}
	select {
	case b := <-free:
		if b == nil { // many layers need few of them
			b = make([]byte, length)
		}
		return b[:min(int64(length), size)], nil
	case <-w.ctx.Done():
		return nil, context.Cause(w.ctx)
	}
}

func (w *writers) release(b []byte) {
	b = b[:cap(b)]
	if len(b) == smallBuffer {
		w.small <- b
	} else {
		w.large <- b
	}
}

var seed = maphash.MakeSeed()

// give hands a job to the writer of its folder, which folder names.
func (w *writers) give(j job, folder string) {
	w.pending.Add(1)
	j.dir.use()
	w.queues[maphash.String(seed, folder)%uint64(len(w.queues))] <- j
}

func (w *writers) run(queue chan job) {
	for j := range queue {
		if err := w.do(j); err != nil {
			w.fail(fmt.Errorf("cannot unpack %q: %w", j.rel, err))
		}
		j.dir.done()
		w.pending.Done()
	}
}

// do makes one file or link. Whatever fails, it takes all of a file's buffers.
func (w *writers) do(j job) error {
	if j.body == nil {
		if err := unix.Symlinkat(j.target, j.dir.fd, j.name); err != nil {
			return err
		}
		return w.opts.dressName(j.dir, j.name, j.meta)
	}
	err := context.Cause(w.ctx)
	fd := -1
	if err == nil {
		fd, err = create(j)
	}
	var offset int64
	for b := range j.body {
		if err == nil {
			err = writeAt(fd, b, offset, j.sparse)
		}
		offset += int64(len(b))
		w.release(b)
	}
	if fd < 0 {
		return err
	}
	if err == nil && j.sparse {
		err = unix.Ftruncate(fd, j.size)
	}
	if err == nil {
		err = w.opts.dress(fd, j.meta, j.meta.mode&0o777)
	}
	return errors.Join(err, unix.Close(fd))
}

func create(j job) (int, error) {
	for {
		fd, err := unix.Openat(j.dir.fd, j.name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, j.meta.mode&0o777)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

var zeros [4096]byte

// writeAt writes b, of a sparse file only what is not zero.
func writeAt(fd int, b []byte, offset int64, sparse bool) error {
	for len(b) > 0 {
		part := b
		if sparse {
			part = b[:min(len(b), len(zeros))]
			if bytes.Equal(part, zeros[:len(part)]) {
				b, offset = b[len(part):], offset+int64(len(part))
				continue
			}
		}
		n, err := unix.Pwrite(fd, part, offset)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return os.NewSyscallError("write", err)
		}
		b, offset = b[n:], offset+int64(n)
	}
	return nil
}
