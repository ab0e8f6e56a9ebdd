package image

import (
	"context"
	"crypto/x509"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"agentctl/runtime"
)

// An agent that is not root can't give files away, nor remove what belongs to its
// range of ids. A child of it, in a user namespace where it is root and those ids are, can:
// it does what changes layers, with this same package, and the agent leases the result.
// Archives go by its standard input and output.

// order is what a child is to do.
type order struct {
	Dir     string
	Way     string // of the store, as its agent sees it
	Options wireOptions
	Acquire *Request       `json:",omitempty"`
	Import  *ImportOptions `json:",omitempty"`
	Export  string         `json:",omitempty"` // digest
	Remove  string         `json:",omitempty"`
	Collect *Keep          `json:",omitempty"`
}

// wireOptions are those of the options that a child needs and has not by itself.
type wireOptions struct {
	IDs         int
	Credentials string
	Mirrors     map[string][]string
	Insecure    []string
	CAs         [][]byte
	Limits      Limits
	Parallel    int
	Backoff     time.Duration
}

// answer is what a child says.
type answer struct {
	Progress  *Progress  `json:",omitempty"`
	Error     string     `json:",omitempty"`
	Kinds     []string   `json:",omitempty"` // of the error
	Key       string     `json:",omitempty"` // of the image
	Ref       string     `json:",omitempty"`
	Pulled    bool       `json:",omitempty"`
	Entry     *Entry     `json:",omitempty"`
	Collected *Collected `json:",omitempty"`
}

// Inside is the life of such a child. It returns its exit code.
func Inside() int {
	return runtime.Obey(func(ctx context.Context, o order, say func(answer)) answer {
		a, err := o.run(ctx, func(p Progress) { say(answer{Progress: &p}) })
		if err != nil {
			a = answer{Error: err.Error(), Kinds: kindsOf(err)}
		}
		return a
	})
}

// run opens the store and does what is ordered.
func (o order) run(ctx context.Context, say func(Progress)) (a answer, err error) {
	x := o.Options
	opts := Options{
		Shift: 1, IDs: x.IDs, Rootless: true, Credentials: x.Credentials, Mirrors: x.Mirrors, Insecure: x.Insecure, Limits: x.Limits, Parallel: x.Parallel,
	}
	for _, raw := range x.CAs {
		ca, err := x509.ParseCertificate(raw)
		if err != nil {
			return a, err
		}
		opts.CAs = append(opts.CAs, ca)
	}
	s, err := open(o.Dir, opts, o.Way)
	if err != nil {
		return a, err
	}
	s.backoff = x.Backoff
	a, err = o.do(ctx, s, say)
	return a, errors.Join(err, s.Close())
}

func (o order) do(ctx context.Context, s *Store, say func(Progress)) (a answer, err error) {
	var l *Lease
	switch {
	case o.Acquire != nil:
		l, err = s.Acquire(ctx, *o.Acquire, say)
	case o.Import != nil:
		l, err = s.Import(ctx, os.Stdin, *o.Import, say)
	case o.Export != "":
		var e Entry
		if e, err = s.Find(o.Export); err == nil {
			err = s.Export(ctx, e, os.Stdout)
		}
	case o.Remove != "":
		var e Entry
		e, err = s.Remove(ctx, o.Remove)
		a.Entry = &e
	case o.Collect != nil:
		var c Collected
		c, err = s.Collect(ctx, *o.Collect)
		a.Collected = &c
	}
	if l != nil {
		a.Key, a.Ref, a.Pulled = l.held.Key, l.Ref, l.Pulled
		err = l.held.Unlock()
	}
	return a, err
}

// kinds are the errors that callers tell apart, by the names they travel by.
var kinds = map[string]error{
	"absent": ErrAbsent, "digest": ErrDigest, "inUse": ErrInUse, "notFound": ErrNotFound, "noSpace": unix.ENOSPC, "quota": unix.EDQUOT, "noFile": os.ErrNotExist,
	"transient": errTransient,
}

func kindsOf(err error) (names []string) {
	for name, kind := range kinds {
		if errors.Is(err, kind) || name == "transient" && Transient(err) {
			names = append(names, name)
		}
	}
	return names
}

// failure is an error of a child.
type failure struct {
	text  string
	kinds []string
}

func (f *failure) Error() string { return f.text }

// Is implements errors.Is.
func (f *failure) Is(target error) bool {
	for _, name := range f.kinds {
		if kinds[name] == target {
			return true
		}
	}
	return false
}
