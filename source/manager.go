package source

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"agentctl/internal/fsx"
	"agentctl/spec"
)

// Options are what a Manager needs.
type Options struct {
	// Host is the machine that a document is picked for out of several.
	Host spec.Host
	Log  *slog.Logger
	// Layers are laid over whatever the source has, in this order, under what is
	// contributed.
	Layers []Layer
	// Keep is how many accepted revisions are kept; 0: 50.
	Keep int
}

// Manager owns STATE/spec. Its methods may be called from any goroutine of the one
// process that holds the agent's lock.
type Manager struct {
	dir  string
	opts Options
	poll time.Duration

	updates  chan Update   // the newest one, or empty
	switched chan struct{} // a hint that there is another source

	fetching chan struct{} // holds one while nobody uses the copy of a repository

	writing sync.Mutex // held over every change on disk, before mu

	mu     sync.Mutex // guards all below; never held over a system call
	source Source
	text   []byte // of a pinned source
	began  int64  // seq of the source's first update
	seq    int64
	good   *Revision // the newest that can be read
	spec   []byte    // its text
	newest int64     // number of the newest record, readable or not

	contributed  []Contribution // oldest first; replaced, never changed
	contributing Word           // the last order about them
}

// Open reads what an earlier agent recorded in dir, which it makes, and removes
// what that one left half done. A record that can't be read is an error: to go on
// as if there were none would be to forget the operator's word.
func Open(dir string, opts Options) (*Manager, error) {
	if opts.Keep == 0 {
		opts.Keep = 50
	}
	m := &Manager{
		dir: dir, opts: opts, poll: slowPoll,
		updates: make(chan Update, 1), switched: make(chan struct{}, 1), fetching: make(chan struct{}, 1),
	}
	m.fetching <- struct{}{}
	if err := os.MkdirAll(m.revisions(), 0o700); err != nil {
		return nil, fmt.Errorf("cannot open the spec's folder: %w", err)
	}
	if err := m.loadSource(); err != nil {
		return nil, err
	}
	if err := m.loadRevisions(); err != nil {
		return nil, err
	}
	if err := m.loadContributed(); err != nil {
		return nil, err
	}
	if err := m.revert(time.Now()); err != nil { // before anybody acts on what was tried
		opts.Log.Error("a spec that was not confirmed can't be reverted yet", "error", err)
	}
	m.sweep()
	return m, nil
}

func (m *Manager) sourceFile() string           { return filepath.Join(m.dir, "source.json") }
func (m *Manager) pinnedFile(sum string) string { return filepath.Join(m.dir, "pinned-"+sum+".yaml") }

func (m *Manager) loadSource() error {
	err := fsx.ReadJSON(m.sourceFile(), &m.source)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = m.source.check()
	}
	if err == nil && m.source.Kind == KindPinned {
		m.text, err = readDigest(m.pinnedFile(m.source.Digest), m.source.Digest)
	}
	if err == nil {
		err = m.loadHeld()
	}
	if err != nil {
		return fmt.Errorf("cannot open the recorded source %s: %w", m.sourceFile(), err)
	}
	return nil
}

// sweep removes what a crash left: temporary files, pinned texts that no record
// names, and texts of revisions without their record. What can't be removed is met
// again at the next start.
func (m *Manager) sweep() {
	for _, dir := range []string{m.dir, m.revisions(), m.contributedDir()} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if path := filepath.Join(dir, e.Name()); m.leftover(path) {
				_ = os.Remove(path)
			}
		}
	}
	m.sweepGit()
}

func (m *Manager) leftover(path string) bool {
	name := filepath.Base(path)
	switch {
	case strings.HasPrefix(name, "."):
		return strings.Contains(name, ".tmp-")
	case strings.HasPrefix(name, "pinned-"):
		return !slices.ContainsFunc(m.source.texts(), func(sum string) bool { return path == m.pinnedFile(sum) })
	case filepath.Dir(path) == m.revisions() && strings.HasSuffix(name, ".yaml"):
		_, err := os.Lstat(strings.TrimSuffix(path, ".yaml") + ".json")
		return errors.Is(err, fs.ErrNotExist)
	}
	return false
}

// Current is the recorded source, the zero Source if there is none yet.
func (m *Manager) Current() Source {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.source
}
