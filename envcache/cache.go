package envcache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"agentctl/envcache/internal/urgency"
	"agentctl/internal/fsx"
	"agentctl/internal/shelf"
)

// longestPython is the longest path of an environment's interpreter: longer
// ones don't fit into the first line of scripts on older kernels.
const longestPython = 120

// Cache holds the environments of one state folder. Its methods may be called
// from many goroutines, and on one state folder from many processes of one
// machine, at once.
type Cache struct {
	state    string
	opts     Options
	shelf    *shelf.Shelf[record]
	builders map[string]builder
	tools    *toolbox
	finder   *Finder
	users    *fsx.Lock     // held as long as the cache is open
	board    urgency.Board // environments, by key
	now      func() time.Time
}

// record is what is known of an environment besides its files.
type record struct {
	Manager   string   `json:"manager"`
	Python    string   `json:"python"`
	Parts     []Part   `json:"parts"`
	Base      string   `json:"base"` // key of the parts without the age
	Frozen    []string `json:"frozen"`
	Reads     []string `json:"reads"`
	Lock      *Lock    `json:"lock,omitempty"`
	Variables []string `json:"variables,omitempty"`
	Settled   string   `json:"settled,omitempty"` // key of the lock, if that alone vouches for the files
	Wishes    []string `json:"wishes,omitempty"`  // parts that the lock answers
	Origin    string   `json:"origin,omitempty"`  // of one that was imported
}

// Open opens the cache in the state folder dir, and removes what dead builders
// left. Tasks of other users need to pass through dir, so it gets the
// permission to be entered, not to be listed.
func Open(dir string, opts Options) (*Cache, error) {
	state, err := openState(dir)
	if err != nil {
		return nil, err
	}
	opts = opts.filled()
	opts.Exec = gentle{opts.Exec}
	s, err := shelf.Open[record](filepath.Join(state, "envs"), shelf.Options{Name: "env", Side: []string{manifestSuffix}, Lazy: true, Log: opts.Log})
	if err != nil {
		return nil, err
	}
	c := &Cache{state: state, opts: opts, shelf: s, now: time.Now}
	tools := &pipTools{dir: filepath.Join(state, "tools"), exec: opts.Exec, env: CleanEnv(opts.Getenv), now: time.Now}
	finder, err := NewFinder(state, opts)
	if err != nil {
		return nil, err
	}
	if err := c.enter(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := c.tidy(ctx); err != nil {
		opts.Log.Info("environments are not tidied up: somebody else is at it", "error", err)
	}
	if err := errors.Join(tools.sweep(), finder.sweep()); err != nil {
		opts.Log.Warn("what a dead agent left of tools and interpreters is not removed", "error", err)
	}
	tools.host = func(ctx context.Context) Interpreter {
		py, _, _ := finder.Find(ctx, "", OnMissingNearest, SameUser, SameUser)
		return py
	}
	c.finder, c.tools = finder, &toolbox{pipTools: tools, finder: finder}
	pip := &pipBuilder{state: state, tools: tools, getenv: opts.Getenv}
	c.builders = map[string]builder{
		ManagerConda:  &condaBuilder{state: state, tools: c.tools, exec: opts.Exec, getenv: opts.Getenv},
		ManagerPip:    pip,
		ManagerPoetry: &poetryBuilder{pip: pip, tools: c.tools, getenv: opts.Getenv},
		ManagerUV:     &uvBuilder{state: state, tools: c.tools, getenv: opts.Getenv},
	}
	return c, nil
}

// openState makes the state folder, if need be, and gives its real path: that
// path is baked into environments.
func openState(dir string) (string, error) {
	if !filepath.IsAbs(dir) || strings.ContainsAny(dir, "\n\r\x00:") {
		return "", fmt.Errorf("cannot keep environments in %q: it must be an absolute path without colons and line breaks", dir)
	}
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return "", fmt.Errorf("cannot keep environments: %w", err)
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", fmt.Errorf("cannot keep environments: %w", err)
	}
	if n := len(real) + len("/envs//bin/python") + 32; n > longestPython {
		return "", fmt.Errorf("cannot keep environments in %s: the path is %d bytes too long", real, n-longestPython)
	}
	info, err := os.Stat(real)
	if err == nil && os.Geteuid() == 0 && info.Mode().Perm()&0o011 != 0o011 {
		err = os.Chmod(real, info.Mode().Perm()|0o011)
	}
	if err != nil {
		return "", fmt.Errorf("cannot keep environments: %w", err)
	}
	return real, nil
}

// Acquire leases the environment for req, building it if need be. progress may
// be nil; it is called from the calling goroutine and from one that ends before
// Acquire does. A hit starts no program and looks at no file of the environment.
// A request whose context is of Background lets tasks have the machine; one for
// the same environment without it hurries it up.
func (c *Cache) Acquire(ctx context.Context, req Request, progress func(Progress)) (*Lease, error) {
	if req.Manager == "" {
		req.Manager = ManagerPip
	}
	if req.Lock != nil {
		if err := req.byLock(); err != nil {
			return nil, fmt.Errorf("cannot build an environment: %w", err)
		}
	}
	if l := c.again(ctx, req, progress); l != nil {
		return l, nil
	}
	a, err := c.acquisition(ctx, req, progress)
	if err != nil {
		return nil, err
	}
	return a.lease(ctx)
}

// acquisition plans the way of a request.
func (c *Cache) acquisition(ctx context.Context, req Request, progress func(Progress)) (*acquisition, error) {
	a := &acquisition{cache: c, req: req, start: c.now(), say: progress}
	if a.say == nil {
		a.say = func(Progress) {}
	}
	b, ok := c.builders[req.Manager]
	if !ok {
		return nil, fmt.Errorf("cannot build environments with %q", shorten(req.Manager))
	}
	var err error
	if a.plan, err = b.plan(ctx, req, a.say); err != nil {
		return nil, fmt.Errorf("cannot build an environment: %w", err)
	}
	if !a.plan.brings && (req.Python.Path == "" || req.Python.Version == "") {
		return nil, errors.New("cannot build an environment: no interpreter is given")
	}
	a.plan.reads = append(a.plan.reads, c.finder.reads(req.Python)...)
	a.parts = append(commonParts(req, c.shelf.Dir(), a.plan.brings), a.plan.parts...)
	return a, nil
}

// Lease keeps an environment from being collected, until Close and the end of
// every process that was given its File.
type Lease struct {
	Path   string   // the environment
	Python string   // its bin/python
	Reads  []string // folders of the state folder, outside Path, that a task needs to see
	Hit    bool     // nothing had to be built
	Why    string   // reason of the hit or miss
	Key    string
	Frozen []string // packages as installed, in the words of pip freeze
	Lock   *Lock    // what the request was resolved to; nil if it can't be told
	// LockKey is the key of what Lock says: the same for every environment of this
	// host that a lock of the same words gives, whatever it was asked for by.
	LockKey string
	// Variables that a task in the environment starts with, as KEY=VALUE. A PATH
	// among them holds only folders that go to the front of the task's.
	Variables []string
	Version   string // of Python, as "3.11.7"
	Parts     []Part // of its key
	Took      time.Duration
	Bytes     int64
	held      *shelf.Lease[record]
}

// File holds the lease. A child that inherits it holds the lease as well.
func (l *Lease) File() *os.File { return l.held.File() }

// Close gives this process's hold on the lease back.
func (l *Lease) Close() error { return l.held.Close() }

// Entry is one environment of the cache.
type Entry struct {
	Key     string    `json:"key"`
	Path    string    `json:"path"`
	Manager string    `json:"manager"`
	Python  string    `json:"python"` // its version
	Created time.Time `json:"created"`
	Used    time.Time `json:"used"` // last lease, to within some minutes
	Bytes   int64     `json:"bytes"`
	Frozen  []string  `json:"frozen"`
	Parts   []Part    `json:"parts"`
	InUse   bool      `json:"inUse"`
	Dirty   bool      `json:"dirty"`           // found changed; removed as soon as it is free
	Doubt   bool      `json:"doubt,omitempty"` // to be checked before it is used again, since the machine went down
	// Lock is what its request was resolved to; nil if it can't be told.
	Lock *Lock `json:"lock,omitempty"`
	// Variables that a task in it starts with.
	Variables []string `json:"variables,omitempty"`
	// Origin is set if it was not built here.
	Origin string `json:"origin,omitempty"`
}

// Entries lists the environments, last used first.
func (c *Cache) Entries() ([]Entry, error) {
	all, err := c.shelf.Entries()
	if err != nil {
		return nil, err
	}
	out := make([]Entry, len(all))
	for i, e := range all {
		out[i] = Entry{
			e.Key, e.Path, e.Entry.Manager, e.Entry.Python, e.Created, e.Used, e.Bytes,
			e.Entry.Frozen, e.Entry.Parts, e.InUse, e.Dirty, e.Doubt, e.Entry.Lock, e.Entry.Variables, e.Entry.Origin,
		}
	}
	return out, nil
}
