package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const (
	stall    = time.Minute // the longest time without a byte
	tries    = 5           // without a byte in between
	allTries = 50
)

var errStalled = errors.New("no byte came for a minute")

// resumed reads a blob, and goes on where it was when the connection is cut.
type resumed struct {
	ctx    context.Context
	open   func(ctx context.Context, offset int64) (io.ReadCloser, error)
	size   int64
	offset int64
	wait   time.Duration // before the first further try

	body   io.ReadCloser
	cancel context.CancelCauseFunc
	timer  *time.Timer
	failed int // tries since the last byte
	all    int
}

func newResumed(ctx context.Context, src source, d v1.Descriptor, wait time.Duration) *resumed {
	open := func(ctx context.Context, offset int64) (io.ReadCloser, error) { return src.blob(ctx, d, offset) }
	return &resumed{ctx: ctx, open: open, size: d.Size, wait: wait}
}

func (r *resumed) Read(p []byte) (int, error) {
	for {
		if r.body == nil {
			if r.offset == r.size {
				return 0, io.EOF
			}
			if err := r.connect(); err != nil {
				return 0, err
			}
		}
		r.timer.Reset(stall)
		n, err := r.body.Read(p)
		r.timer.Stop()
		if n > 0 {
			r.failed = 0
			if r.offset += int64(n); r.offset > r.size {
				return 0, fmt.Errorf("it has more than the %d bytes that its manifest tells", r.size)
			}
			return n, nil // an error comes again
		}
		if errors.Is(err, io.EOF) && r.offset == r.size {
			return 0, io.EOF
		}
		if err == nil {
			continue
		}
		if cause := context.Cause(r.ctx); cause != nil {
			return 0, cause
		}
		_ = r.Close()
		if err := r.pause(err); err != nil {
			return 0, err
		}
	}
}

// connect asks for what is left.
func (r *resumed) connect() error {
	for {
		ctx, cancel := context.WithCancelCause(r.ctx)
		body, err := r.open(ctx, r.offset)
		if err == nil {
			r.body, r.cancel = body, cancel
			r.timer = time.AfterFunc(stall, func() { cancel(errStalled) })
			return nil
		}
		cancel(nil)
		// A first refusal is an answer. Later ones follow from what cut the connection.
		if r.all == 0 && !cut(err) {
			return err
		}
		if err := r.pause(err); err != nil {
			return err
		}
	}
}

// pause waits before the next try, or gives up.
func (r *resumed) pause(err error) error {
	if r.failed, r.all = r.failed+1, r.all+1; r.failed > tries || r.all > allTries {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("the connection was cut at byte %d of %d, and again: %w", r.offset, r.size, err)
	}
	select {
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	case <-time.After(r.wait << (r.failed - 1)):
		return nil
	}
}

// Close closes the connection.
func (r *resumed) Close() error {
	if r.body == nil {
		return nil
	}
	r.timer.Stop()
	err := r.body.Close()
	r.cancel(nil)
	r.body = nil
	return err
}

// cut tells that a connection ended in the middle.
func cut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, net.ErrClosed) || errors.Is(err, errStalled)
}
