package envcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"agentctl/envcache/internal/urgency"
	"agentctl/internal/crash"
	"agentctl/internal/fsx"
	"agentctl/internal/tree"
)

// The private pip: one release for all environments of all interpreters that it
// supports, known by its digest wherever it comes from.
const (
	pipVersion = "25.3"
	pipWheel   = "pip-25.3-py3-none-any.whl"
	pipSHA256  = "9655943313a94722b7774661c21049070f6bbb0a1516bf02f7c8d5d9201514cd"
)

// pipOldest is the oldest Python that the private pip runs on.
var pipOldest = [3]int{3, 9, 0}

// pipTool is an unpacked pip.
type pipTool struct {
	dir     string // holds the package "pip"
	version string
	note    string // why it is not the pinned one
}

// program is what an interpreter is given to run this very pip.
func (t pipTool) program() string { return filepath.Join(t.dir, "pip") }

// progress is how pip is to tell of a download. Without a word about it a large
// one would count as a hung build.
func (t pipTool) progress() string {
	if t.since(24, 1) {
		return "raw"
	}
	return "off" // older ones know only bars
}

// reports tells whether pip writes down what it resolved, in the first stable form.
func (t pipTool) reports() bool { return t.since(23, 0) }

func (t pipTool) since(major, minor int) bool {
	n := numbers(t.version)
	return slices.Compare(n[:2], []int{major, minor}) >= 0
}

// identity stands in keys: a release, or a copy of what an interpreter carries.
func (t pipTool) identity() string { return filepath.Base(t.dir) }

// pipTools keeps the unpacked pips of a state folder.
type pipTools struct {
	dir  string // STATE/tools
	exec Exec
	env  []string
	now  func() time.Time
	// host finds an interpreter of the host, whose pip knows which index is the usual one.
	host func(ctx context.Context) Interpreter

	board urgency.Board

	mu     sync.Mutex
	failed map[string]failedFetch // by version
}

type failedFetch struct {
	err     error
	retryAt time.Time
}

// fetchPause is how long a fetch that failed is not tried again: each try may
// last until a time-out, and a task waits for it.
const fetchPause = 10 * time.Minute

// get gives the pip for an interpreter: the pinned one, fetched at most once, or
// else the one that the interpreter carries.
func (t *pipTools) get(ctx context.Context, py Interpreter, src *access, say func(Progress)) (pipTool, error) {
	return t.wanted(ctx, py, "", src, say)
}

// wanted is get for one version, which there must be; "" is any.
func (t *pipTools) wanted(ctx context.Context, py Interpreter, wanted string, src *access, say func(Progress)) (pipTool, error) {
	version := cmp.Or(wanted, pipVersion)
	if !plain(version) {
		return pipTool{}, fmt.Errorf("%q is no version of pip", shorten(version))
	}
	tool := pipTool{dir: filepath.Join(t.dir, "pip-"+version), version: version}
	n := py.Numbers()
	why := fmt.Errorf("pip %s needs Python %d.%d", pipVersion, pipOldest[0], pipOldest[1])
	if version != pipVersion || n[0] == pipOldest[0] && n[1] >= pipOldest[1] {
		if isDir(tool.dir) {
			return tool, nil
		}
		if why = t.fetch(ctx, tool, py, src, say); why == nil {
			return tool, nil
		}
		if ctx.Err() != nil {
			return pipTool{}, context.Cause(ctx)
		}
	}
	tool, err := t.carried(ctx, py)
	switch {
	case wanted != "" && (err != nil || tool.version != wanted):
		return pipTool{}, fmt.Errorf("cannot have pip %s: %w", wanted, why)
	case err != nil:
		return pipTool{}, fmt.Errorf("there is no pip to build with: %w; and %w", why, err)
	}
	tool.note = fmt.Sprintf("pip %s of this Python is used: %v", tool.version, why)
	return tool, nil
}

// fetch brings a pip to its folder.
func (t *pipTools) fetch(ctx context.Context, tool pipTool, py Interpreter, src *access, say func(Progress)) error {
	t.mu.Lock()
	last := t.failed[tool.version]
	t.mu.Unlock()
	if last.err != nil && t.now().Before(last.retryAt) {
		return last.err
	}
	start := t.now()
	err := t.once(ctx, tool.dir, func(tmp string) error {
		if py.Root != "" {
			py = t.host(ctx)
		}
		data, err := download(ctx, tool.version, py, src)
		if err != nil {
			return err
		}
		return unzip(data, tmp)
	})
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failed == nil {
		t.failed = map[string]failedFetch{}
	}
	t.failed[tool.version] = failedFetch{err, t.now().Add(fetchPause)}
	if err == nil {
		say(Progress{Time: t.now(), Step: "pip", Text: "fetched pip " + tool.version, Took: t.now().Sub(start)})
	}
	return err
}

// once makes the folder dir by fill, if no other process or goroutine did. A
// folder of that name is whole: it appears by a rename.
func (t *pipTools) once(ctx context.Context, dir string, fill func(tmp string) error) error {
	// Tasks import the tool, as users that are not the agent.
	if err := os.MkdirAll(t.dir, 0o755); err != nil {
		return err
	}
	unlock, err := t.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if isDir(dir) {
		return nil
	}
	tmp := filepath.Join(t.dir, newTool)
	if err := tree.Remove(tmp); err != nil { // of a dead process: we hold the lock
		return err
	}
	defer func() { _ = tree.Remove(tmp) }()
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return err
	}
	if err := fill(tmp); err != nil {
		return err
	}
	if err := tree.Publish(tmp, -1, -1); err != nil {
		return err
	}
	crash.Point("tool.filled")
	if err := fsx.SyncAll(tmp); err != nil {
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return err
	}
	crash.Point("tool.published")
	return fsx.SyncDir(t.dir)
}

const newTool = ".new"

// sweep removes what a dead process left of a tool that it was installing, the
// logins for it included, unless somebody is at it now.
func (t *pipTools) sweep() error {
	if !isDir(t.dir) {
		return nil
	}
	l, err := fsx.TryLock(filepath.Join(t.dir, ".lock"))
	if errors.Is(err, fsx.ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }()
	return errors.Join(tree.Remove(filepath.Join(t.dir, newTool)), tree.Remove(filepath.Join(t.dir, toolHome)))
}

// lock keeps other makers of tools out. Who waits for it hurries its holder up.
func (t *pipTools) lock(ctx context.Context) (unlock func(), err error) {
	leave := t.board.Enter(ctx, ".lock")
	l, err := fsx.WaitLock(ctx, filepath.Join(t.dir, ".lock"))
	if err != nil {
		leave()
		return nil, err
	}
	return func() {
		_ = l.Close()
		leave()
	}, nil
}
