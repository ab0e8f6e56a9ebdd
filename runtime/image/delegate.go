package image

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"time"
)

// delegates tells that a child in a user namespace changes the layers.
func (s *Store) delegates() bool { return s.opts.Enter != nil }

// delegate has a child do what is ordered. stdin and stdout may be nil.
func (s *Store) delegate(ctx context.Context, o order, say func(Progress), stdin io.Reader, stdout io.Writer) (answer, error) {
	o.Dir, o.Way, o.Options = s.dir, s.way(), s.wire()
	orders, send, err := os.Pipe()
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = send.Close() }()
	receive, answers, err := os.Pipe()
	if err != nil {
		_ = orders.Close()
		return answer{}, err
	}
	defer func() { _ = receive.Close() }()
	program := s.opts.Inside
	cmd := exec.Command(program[0], program[1:]...)
	var words bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, &words
	if stdout == nil { // else what the child has written is waited for, however slow its reader is
		cmd.WaitDelay = time.Second // for a stream that nobody ends
	}
	cmd.ExtraFiles = []*os.File{orders, answers}
	err = s.opts.Enter(cmd)
	_, _ = orders.Close(), answers.Close()
	if err != nil {
		return answer{}, fmt.Errorf("cannot work on layers in the range of ids: %w", err)
	}
	// The order goes out once the child has its ids. From then on the closed pipe ends it.
	err = json.NewEncoder(send).Encode(o)
	stop := context.AfterFunc(ctx, func() { _ = send.Close() })
	defer stop()
	a, lerr := listen(receive, say)
	_ = send.Close()
	// The last of an archive is copied after the child's last word.
	if werr := cmd.Wait(); err == nil && (lerr != nil || stdout != nil) {
		err = errors.Join(lerr, werr)
	}
	if cause := context.Cause(ctx); cause != nil && (err != nil || a.Error != "") {
		return a, cause
	}
	if err != nil {
		return a, fmt.Errorf("cannot work on layers in the range of ids: %w: %.1000s", err, words.Bytes())
	}
	if a.Error != "" {
		return a, &failure{a.Error, a.Kinds}
	}
	return a, nil
}

// listen reads answers until the last one.
func listen(r io.Reader, say func(Progress)) (answer, error) {
	for in := json.NewDecoder(r); ; {
		var a answer
		if err := in.Decode(&a); err != nil {
			return a, fmt.Errorf("it ended without an answer: %w", err)
		}
		if a.Progress != nil && say != nil {
			say(*a.Progress)
		}
		if a.Done {
			return a, nil
		}
	}
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
