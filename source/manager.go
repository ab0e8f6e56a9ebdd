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

	"agentctl/internal/crash"
	"agentctl/internal/fsx"
	"agentctl/spec"
)

// Options are what a Manager needs.
type Options struct {
	// NodeName picks the node's document out of a file with several.
	NodeName string
	Log      *slog.Logger
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

	writing sync.Mutex // held over every change on disk, before mu

	mu     sync.Mutex // guards all below; never held over a system call
	source Source
	text   []byte // of a pinned source
	began  int64  // seq of the source's first update
	seq    int64
	good   *Revision // the newest that can be read
	spec   []byte    // its text
	newest int64     // number of the newest record, readable or not
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
		updates: make(chan Update, 1), switched: make(chan struct{}, 1),
	}
	if err := os.MkdirAll(m.revisions(), 0o700); err != nil {
		return nil, fmt.Errorf("cannot open the spec's folder: %w", err)
	}
	if err := m.loadSource(); err != nil {
		return nil, err
	}
	if err := m.loadRevisions(); err != nil {
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
	for _, dir := range []string{m.dir, m.revisions()} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if path := filepath.Join(dir, e.Name()); m.leftover(path) {
				_ = os.Remove(path)
			}
		}
	}
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

// Check tells whether a source may replace the present one: a *TakeOverError if
// the agent's flags named that and takeOver is not asked for.
func (m *Manager) Check(kind, path string, takeOver bool) error {
	present, wanted := m.Current(), Source{Kind: kind, Path: path}
	if present.By == ByFlags && !present.samePlace(wanted) && !takeOver {
		return &TakeOverError{Present: present, Wanted: wanted}
	}
	return nil
}

// SetFile makes the file at path, which is absolute, the followed source. It holds
// what the returned Update says; the caller hands that on. text is what the caller
// found there, or nil; the agent must find the same. A text that is not valid
// (*spec.InvalidError) and a refused take-over change nothing.
func (m *Manager) SetFile(path string, text []byte, takeOver bool) (Update, error) {
	return m.ApplyFile(path, text, Order{TakeOver: takeOver})
}

// Pin makes text the source, as it is. name is what it is called in problems and
// in the status. Errors are as of SetFile.
func (m *Manager) Pin(name string, text []byte, takeOver bool) (Update, error) {
	return m.ApplyText(name, text, Order{TakeOver: takeOver})
}

func (m *Manager) replace(next Source, text []byte, o Order) (Update, error) {
	if _, problems := spec.DecodeFor(next.Path, text, m.opts.NodeName); problems.Err() != nil {
		return Update{}, problems.Err()
	}
	m.writing.Lock()
	defer m.writing.Unlock()
	if err := m.Check(next.Kind, next.Path, o.TakeOver); err != nil {
		return Update{}, err
	}
	if err := m.checkBase(o.Base); err != nil {
		return Update{}, err
	}
	if s := m.Current().Suspended; s != nil && !o.Resume {
		return Update{}, &SuspendedError{s, "agentctl resume follows the source again, apply --resume takes this spec"}
	}
	next.By, next.Since = ByApply, time.Now()
	next.Said = &Word{Digest: digest(text), By: o.By, Message: o.Message, AllowEmpty: o.AllowEmpty, Time: next.Since}
	if present := m.Current(); present.samePlace(next) { // named before, by whom it was
		next.By, next.Since = present.By, present.Since
	}
	if o.Try > 0 {
		return m.try(next, text, o)
	}
	if next.Kind == KindPinned {
		crash.Point("source.pin")
		if err := fsx.WriteFile(m.pinnedFile(next.Digest), text, 0o600); err != nil {
			return Update{}, fmt.Errorf("cannot pin the spec: %w", err)
		}
		crash.Point("source.pinned")
	}
	return m.record(next, text)
}

// UseFlags names the file that the agent's flags give. It holds only if no source
// is recorded, which taken tells. The file need not be there yet.
func (m *Manager) UseFlags(path string) (taken bool, err error) {
	if !filepath.IsAbs(path) {
		return false, fmt.Errorf("cannot follow %s: the path is not absolute", path)
	}
	m.writing.Lock()
	defer m.writing.Unlock()
	if m.Current().Kind != "" {
		return false, nil
	}
	_, err = m.record(Source{Kind: KindFile, Path: filepath.Clean(path), By: ByFlags, Since: time.Now()}, nil)
	return err == nil, err
}

// record makes next the source: on disk first, then for whoever asks. Updates of
// the old one that are still on their way are dropped from here on.
func (m *Manager) record(next Source, text []byte) (Update, error) {
	if next.Version = recordVersion; next.Suspended != nil {
		next.Version = newVersion
	}
	old := m.Current()
	crash.Point("source.record")
	if err := fsx.WriteJSON(m.sourceFile(), next, 0o600); err != nil {
		return Update{}, fmt.Errorf("cannot record the source: %w", err)
	}
	crash.Point("source.recorded")
	m.dropTexts(old, next)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.source, m.text = next, nil
	if next.Kind == KindPinned {
		m.text = text
	}
	m.seq++
	m.began = m.seq
	select {
	case <-m.updates:
	default:
	}
	hint(m.switched)
	return Update{Source: next, Text: text, Unread: text == nil, Seq: m.seq}, nil
}
