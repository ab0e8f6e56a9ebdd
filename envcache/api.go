package envcache

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"time"
)

var errSoon = errors.New("not built yet")

// Options of a Cache.
type Options struct {
	Exec   Exec // nil: HostExec
	Log    *slog.Logger
	MaxAge time.Duration       // of unpinned lists; 0: 7 days, negative: for ever
	Silent time.Duration       // longest time without a sign of life of a build; 0: 30 min
	Getenv func(string) string // environment of the agent; nil: os.Getenv
}

// Cache holds the environments of one state folder. Its methods may be called
// from many goroutines and processes at once, on one machine.
type Cache struct{}

// Open opens the cache in the state folder dir.
func Open(dir string, opts Options) (*Cache, error) { return nil, errSoon }

// Acquire leases the environment for req, building it if need be.
func (c *Cache) Acquire(ctx context.Context, req Request, progress func(Progress)) (*Lease, error) {
	return nil, errSoon
}

// Lease keeps an environment from being collected.
type Lease struct {
	Path   string   // the environment
	Python string   // its bin/python
	Reads  []string // host folders outside Path that the environment needs at run time
	Hit    bool
	Why    string // reason of the hit or miss
	Key    string
	Frozen []string // packages as installed, as pip freeze writes them
	Took   time.Duration
	Bytes  int64
}

// File holds the lease.
func (l *Lease) File() *os.File { return nil }

// Close gives the lease back.
func (l *Lease) Close() error { return nil }

// ChildEnv is a thin environment over a leased one.
type ChildEnv struct {
	Python string
	Path   []string // what goes to the front of PATH, in order
}

// Child makes a thin environment over l in the folder dir.
func (c *Cache) Child(ctx context.Context, l *Lease, dir string, uid, gid int) (ChildEnv, error) {
	return ChildEnv{}, errSoon
}

// Verify compares a leased environment with its manifest.
func (c *Cache) Verify(ctx context.Context, l *Lease) error { return errSoon }

// Discard removes the entry key, as soon as nobody leases it.
func (c *Cache) Discard(ctx context.Context, key string) error { return errSoon }

// Entry is one environment of the cache.
type Entry struct {
	Key, Path, Manager, Python string
	Created, Used              time.Time
	Bytes                      int64
	Frozen                     []string
	InUse                      bool
}

// Entries lists the environments, last used first.
func (c *Cache) Entries() ([]Entry, error) { return nil, errSoon }

// Limits of what is kept; zero values don't limit.
type Limits struct {
	MaxEntries        int
	MaxBytes, MinFree int64
	MaxAge            time.Duration // since the last use
}

// Collected tells what a collection did.
type Collected struct {
	Removed []string // keys
	Freed   int64
	Kept    int
}

// Collect removes what is over the limits.
func (c *Cache) Collect(ctx context.Context, lim Limits) (Collected, error) {
	return Collected{}, errSoon
}

// Finder finds interpreters.
type Finder struct{}

// NewFinder makes a finder that remembers in the state folder dir.
func NewFinder(dir string, opts Options) (*Finder, error) { return nil, errSoon }

// Find finds the interpreter for want ("3.11", "python3.11", a path, "" = the host's).
func (f *Finder) Find(ctx context.Context, want, onMissing string, uid, gid int) (Interpreter, string, error) {
	return Interpreter{}, "", errSoon
}

// HostExec runs programs on the host.
type HostExec struct{}

// Run runs c in a process group of its own.
func (HostExec) Run(ctx context.Context, c Cmd) (Exit, error) { return Exit{}, errSoon }
