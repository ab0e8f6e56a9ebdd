package repo

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"

	"agentctl/envcache"
)

var errSoon = errors.New("not built yet")

// Options of a Store.
type Options struct {
	Exec   envcache.Exec
	Log    *slog.Logger
	Getenv func(string) string
}

// Store holds the mirrors and checkouts of one state folder.
type Store struct{}

// Open opens the store in the state folder dir.
func Open(dir string, opts Options) (*Store, error) { return nil, errSoon }

// Credentials for the host of a URL, over http(s).
type Credentials struct{ Username, Password string }

// Source names a state of a repository.
type Source struct {
	URL                 string
	Commit, Tag, Branch string // the first that is not empty counts; none: the remote's HEAD
	Diff                string // uncommitted changes: a patch, or empty
	Credentials         Credentials
	UID, GID            int // owner of the checkout
}

// Checkout is a leased, read-only base for a task's working tree.
type Checkout struct {
	Path, URL, Branch, Commit, Key string
	Hit                            bool
	Warnings                       []string
	Took                           time.Duration
}

// File holds the lease.
func (c *Checkout) File() *os.File { return nil }

// Close gives the lease back.
func (c *Checkout) Close() error { return nil }

// Acquire leases the checkout of src, making it if need be.
func (s *Store) Acquire(ctx context.Context, src Source, progress func(envcache.Progress)) (*Checkout, error) {
	return nil, errSoon
}

// Copy copies the checkout to dst, which must not exist.
func (s *Store) Copy(ctx context.Context, c *Checkout, dst string) error { return errSoon }

// IsPatch tells whether a task's diff is a patch, and not a literal script.
func IsPatch(diff string) bool { return false }

// Collect removes what is over the limits.
func (s *Store) Collect(ctx context.Context, lim envcache.Limits) (envcache.Collected, error) {
	return envcache.Collected{}, errSoon
}
