package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"time"

	"agentctl/runtime"
)

// delegates tells that a child in a user namespace changes the layers.
func (s *Store) delegates() bool { return s.opts.Enter != nil }

// delegate has a child do what is ordered. stdin and stdout may be nil.
func (s *Store) delegate(ctx context.Context, o order, say func(Progress), stdin io.Reader, stdout io.Writer) (answer, error) {
	o.Dir, o.Way, o.Options = s.dir, s.way(), s.wire()
	program := s.opts.Inside
	cmd := exec.Command(program[0], program[1:]...)
	var words bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, &words
	if stdout == nil { // else what the child has written is waited for, however slow its reader is
		cmd.WaitDelay = time.Second // for a stream that nobody ends
	}
	a, err := runtime.Delegate(ctx, cmd, s.opts.Enter, o, func(a answer) {
		if a.Progress != nil && say != nil {
			say(*a.Progress)
		}
	})
	switch cause := context.Cause(ctx); {
	case cause != nil && (err != nil || a.Error != ""):
		return a, cause
	case err != nil:
		return a, fmt.Errorf("cannot work on layers in the range of ids: %w: %.1000s", err, words.Bytes())
	case a.Error != "":
		return a, &failure{a.Error, a.Kinds}
	}
	return a, nil
}

func (s *Store) wire() wireOptions {
	o := s.opts
	w := wireOptions{IDs: o.IDs, Credentials: o.Credentials, Mirrors: o.Mirrors, Insecure: o.Insecure, Limits: o.Limits, Parallel: o.Parallel, Backoff: s.backoff}
	for _, ca := range o.CAs {
		w.CAs = append(w.CAs, ca.Raw)
	}
	return w
}

// leaseFrom leases what a child fetched; fs.ErrNotExist if it was collected since.
func (s *Store) leaseFrom(a answer) (*Lease, error) {
	ref, err := ParseReference(a.Ref)
	if err != nil {
		return nil, err
	}
	held, err := s.images.Peek(a.Key)
	if err != nil {
		return nil, err
	}
	l := s.newLease(ref, held)
	if l.Pulled = a.Pulled; l.Pulled {
		l.Took = held.Entry.Took
	}
	return l, nil
}

// acquireInside is Acquire of an image that is not here, or has to be looked up.
func (s *Store) acquireInside(ctx context.Context, req Request, say func(Progress)) (*Lease, error) {
	for {
		a, err := s.delegate(ctx, order{Acquire: &req}, say, nil, nil)
		if err != nil {
			return nil, err
		}
		if l, err := s.leaseFrom(a); !errors.Is(err, fs.ErrNotExist) {
			return l, err
		}
	}
}
