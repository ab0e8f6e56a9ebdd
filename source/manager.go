package source

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"agentctl/internal/crash"
	"agentctl/internal/fsx"
)

// Kinds of sources.
const (
	KindFile   = "file"
	KindPinned = "pinned"
)

// Who named a source.
const (
	ByApply = "apply"
	ByFlags = "flags"
)

// Source is where the spec comes from.
type Source struct {
	Version int    `json:"version"`
	Kind    string `json:"kind"`
	// Path is the watched file, absolute, or what a pinned text was called.
	Path string    `json:"path,omitempty"`
	By   string    `json:"by"`
	Time time.Time `json:"time"`
}

// String says it for people.
func (s Source) String() string {
	switch s.Kind {
	case KindFile:
		return "file " + s.Path
	case KindPinned:
		return "pinned (" + s.Path + ")"
	}
	return "none"
}

// Revision is one accepted spec.
type Revision struct {
	Version int       `json:"version"`
	Number  int64     `json:"number"`
	Digest  string    `json:"digest"`
	Kind    string    `json:"kind"`
	Path    string    `json:"path,omitempty"`
	Time    time.Time `json:"time"`
	Text    string    `json:"text"`
}

// TakeOverError means that the present source was given by other means, and is
// only replaced when that is asked for.
type TakeOverError struct{ Present Source }

func (e *TakeOverError) Error() string {
	return fmt.Sprintf("the node follows %s, given by the agent's %s; use --take-over to replace it", e.Present, e.Present.By)
}

const (
	recordVersion = 1
	keepRevisions = 50
)

// Manager owns STATE/spec. Its methods may be called from any goroutine of the
// one process that holds the agent's lock.
type Manager struct {
	dir string

	mu      sync.Mutex
	source  Source
	last    *Revision
	changed chan struct{}
}

// Open reads what an earlier agent recorded in dir, which it creates.
func Open(dir string) (*Manager, error) {
	m := &Manager{dir: dir, changed: make(chan struct{}, 1)}
	if err := os.MkdirAll(m.revisions(), 0o700); err != nil {
		return nil, fmt.Errorf("cannot open the spec folder: %w", err)
	}
	err := fsx.ReadJSON(m.sourceFile(), &m.source)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot open the recorded source: %w", err)
	}
	if m.source.Version > recordVersion {
		return nil, fmt.Errorf("cannot open the recorded source: %s is of version %d, written by a newer agentctl", m.sourceFile(), m.source.Version)
	}
	return m, m.load()
}

func (m *Manager) revisions() string  { return filepath.Join(m.dir, "revisions") }
func (m *Manager) sourceFile() string { return filepath.Join(m.dir, "source.json") }

func (m *Manager) revisionFile(n int64) string {
	return filepath.Join(m.revisions(), fmt.Sprintf("%06d.json", n))
}

// numbers lists the revisions on disk, oldest first.
func (m *Manager) numbers() ([]int64, error) {
	entries, err := os.ReadDir(m.revisions())
	if err != nil {
		return nil, fmt.Errorf("cannot list the revisions: %w", err)
	}
	var ns []int64
	for _, e := range entries {
		base, ok := strings.CutSuffix(e.Name(), ".json")
		if n, err := strconv.ParseInt(base, 10, 64); ok && err == nil {
			ns = append(ns, n)
		}
	}
	slices.Sort(ns)
	return ns, nil
}

// load finds the newest revision that can be read.
func (m *Manager) load() error {
	ns, err := m.numbers()
	if err != nil {
		return err
	}
	for _, n := range slices.Backward(ns) {
		if r, err := m.Revision(n); err == nil {
			m.last = r
			return nil
		}
	}
	return nil
}

// Revision reads one accepted revision; fs.ErrNotExist when it is not kept.
func (m *Manager) Revision(n int64) (*Revision, error) {
	var r Revision
	if err := fsx.ReadJSON(m.revisionFile(n), &r); err != nil {
		return nil, err
	}
	return &r, nil
}

// Revisions lists what is kept, newest first.
func (m *Manager) Revisions() ([]Revision, error) {
	ns, err := m.numbers()
	if err != nil {
		return nil, err
	}
	var out []Revision
	for _, n := range slices.Backward(ns) {
		if r, err := m.Revision(n); err == nil {
			out = append(out, *r)
		}
	}
	return out, nil
}

// Present is the recorded source; its Kind is "" when there is none yet.
func (m *Manager) Present() Source {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.source
}

// LastGood is the newest accepted revision, or nil.
func (m *Manager) LastGood() *Revision {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last
}

// Changed has a value after the source was replaced.
func (m *Manager) Changed() <-chan struct{} { return m.changed }

// Allowed tells whether next may replace the present source.
func (m *Manager) Allowed(takeOver bool) error {
	present := m.Present()
	if present.Kind == "" || present.By == ByApply || takeOver {
		return nil
	}
	return &TakeOverError{present}
}

// Replace records a new source.
func (m *Manager) Replace(kind, path, by string, now time.Time) error {
	next := Source{Version: recordVersion, Kind: kind, Path: path, By: by, Time: now}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.source.Kind == kind && m.source.Path == path && m.source.By == by {
		return nil
	}
	crash.Point("source.replace")
	if err := fsx.WriteJSON(m.sourceFile(), next, 0o600); err != nil {
		return fmt.Errorf("cannot record the source: %w", err)
	}
	crash.Point("source.replaced")
	m.source = next
	select {
	case m.changed <- struct{}{}:
	default:
	}
	return nil
}

// Accept stores an accepted spec and returns its number. It is on disk then.
func (m *Manager) Accept(r Revision) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r.Version, r.Number = recordVersion, 1
	if m.last != nil {
		r.Number = m.last.Number + 1
	}
	crash.Point("source.accept")
	if err := fsx.WriteJSON(m.revisionFile(r.Number), r, 0o600); err != nil {
		return 0, fmt.Errorf("cannot store the revision: %w", err)
	}
	crash.Point("source.accepted")
	m.last = &r
	m.prune(r.Number)
	return r.Number, nil
}

// prune drops revisions beyond the bound; a failure is met again at the next one.
func (m *Manager) prune(newest int64) {
	ns, err := m.numbers()
	if err != nil {
		return
	}
	for _, n := range ns {
		if n <= newest-keepRevisions {
			_ = os.Remove(m.revisionFile(n))
		}
	}
}
