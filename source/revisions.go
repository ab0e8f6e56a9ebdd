package source

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"agentctl/internal/crash"
	"agentctl/internal/fsx"
)

func (m *Manager) revisions() string { return filepath.Join(m.dir, "revisions") }

func (m *Manager) revisionFile(n int64, ext string) string {
	return filepath.Join(m.revisions(), fmt.Sprintf("%04d%s", n, ext))
}

// loadRevisions finds the last good spec: the newest that is whole.
func (m *Manager) loadRevisions() error {
	numbers, err := m.numbers()
	if err != nil {
		return err
	}
	for _, n := range slices.Backward(numbers) {
		m.newest = max(m.newest, n)
		r, text, err := m.read(n)
		if err != nil {
			m.opts.Log.Warn("an accepted spec can't be read, taking the one before it", "revision", n, "error", err)
			continue
		}
		m.good, m.spec = r, text
		if said := m.source.Said; said != nil && !r.Time.Before(said.Time) {
			m.source.Said = nil
		}
		return nil
	}
	return nil
}

// numbers lists the revisions that count, oldest first.
func (m *Manager) numbers() ([]int64, error) {
	entries, err := os.ReadDir(m.revisions())
	if err != nil {
		return nil, fmt.Errorf("cannot list the accepted specs: %w", err)
	}
	var out []int64
	for _, e := range entries {
		base, ok := strings.CutSuffix(e.Name(), ".json")
		if n, err := strconv.ParseInt(base, 10, 64); ok && err == nil && n > 0 {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out, nil
}

func (m *Manager) read(n int64) (*Revision, []byte, error) {
	var r Revision
	if err := fsx.ReadJSON(m.revisionFile(n, ".json"), &r); err != nil {
		return nil, nil, err
	}
	if r.Version < 1 || r.Version > recordVersion || r.Number != n {
		return nil, nil, fmt.Errorf("cannot read revision %d: its record is of version %d and number %d", n, r.Version, r.Number)
	}
	text, err := readDigest(m.revisionFile(n, ".yaml"), r.Digest)
	return &r, text, err
}

// readDigest reads a text that was stored with its digest.
func readDigest(path, sum string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read a stored spec: %w", err)
	}
	if digest(text) != sum {
		return nil, fmt.Errorf("cannot read a stored spec: %s is not what was stored there", path)
	}
	return text, nil
}

// LastGood is the spec that was accepted last, with its text; false if none was.
func (m *Manager) LastGood() (Revision, []byte, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.good == nil {
		return Revision{}, nil, false
	}
	return *m.good, bytes.Clone(m.spec), true
}

// History lists the accepted specs that are kept, newest first.
func (m *Manager) History() ([]Revision, error) {
	numbers, err := m.numbers()
	if err != nil {
		return nil, err
	}
	var out []Revision
	for _, n := range slices.Backward(numbers) {
		if r, _, err := m.read(n); err == nil { // else dropped meanwhile, or told at the start
			out = append(out, *r)
		}
	}
	return out, nil
}

// Revision reads an accepted spec, 0 the newest; fs.ErrNotExist if it is not kept.
func (m *Manager) Revision(number int64) (Revision, []byte, error) {
	if r, text, ok := m.LastGood(); ok && (number == 0 || number == r.Number) {
		return r, text, nil
	}
	r, text, err := m.read(number)
	if err != nil {
		return Revision{}, nil, err
	}
	return *r, text, nil
}

// Text is that of an accepted spec; fs.ErrNotExist if it is not kept.
func (m *Manager) Text(number int64) ([]byte, error) {
	_, text, err := m.read(number)
	return text, err
}

// Accept makes a text the last good spec, and returns its number. It has reached the
// disk then.
func (m *Manager) Accept(a Accepted) (int64, error) {
	m.writing.Lock()
	defer m.writing.Unlock()
	r, err := m.next(a)
	if err != nil {
		return 0, err
	}
	crash.Point("source.accept")
	if err := fsx.WriteFile(m.revisionFile(r.Number, ".yaml"), a.Text, 0o600); err != nil {
		return 0, fmt.Errorf("cannot store the spec: %w", err)
	}
	crash.Point("source.text")
	if err := fsx.WriteJSON(m.revisionFile(r.Number, ".json"), r, 0o600); err != nil {
		return 0, fmt.Errorf("cannot store the spec: %w", err)
	}
	crash.Point("source.accepted")
	m.mu.Lock()
	m.good, m.spec, m.newest = &r, bytes.Clone(a.Text), r.Number
	m.source.Said = nil
	m.mu.Unlock()
	m.prune(r.Number)
	return r.Number, nil
}

// Finish records what became of an accepted spec. The first word stays.
func (m *Manager) Finish(number int64, result string, now time.Time) error {
	m.writing.Lock()
	defer m.writing.Unlock()
	r, _, err := m.read(number)
	if err != nil || r.Result != "" {
		return err
	}
	r.Result, r.Finished = result, now
	crash.Point("source.finish")
	if err := fsx.WriteJSON(m.revisionFile(number, ".json"), r, 0o600); err != nil {
		return fmt.Errorf("cannot record the result of a spec: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.good != nil && m.good.Number == number {
		m.good = r
	}
	return nil
}

// prune drops the oldest revisions beyond the bound: first what makes one count,
// so that a crash in between leaves no record without its text. A failure is met
// again at the next one.
func (m *Manager) prune(newest int64) {
	numbers, err := m.numbers()
	if err != nil {
		return
	}
	for _, n := range numbers {
		if n > newest-int64(m.opts.Keep) {
			return
		}
		if err := m.fold(n); err != nil {
			m.opts.Log.Warn("what an old spec changed is not kept", "revision", n, "error", err)
		}
		err := os.Remove(m.revisionFile(n, ".json"))
		crash.Point("source.prune")
		if err := errors.Join(err, os.Remove(m.revisionFile(n, ".yaml"))); err != nil {
			m.opts.Log.Warn("an old spec was not removed", "revision", n, "error", err)
		}
	}
}
