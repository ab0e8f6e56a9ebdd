package source

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"agentctl/internal/crash"
	"agentctl/internal/fsx"
)

// check tells whether a source may replace the present one: a *TakeOverError if
// the agent's flags named that, or it is a repository, and takeOver is not asked for.
func (m *Manager) check(wanted Source, takeOver bool) error {
	present := m.Current()
	guarded := present.By == ByFlags || present.Kind == KindGit
	if guarded && !present.samePlace(wanted) && !takeOver {
		return &TakeOverError{Present: present, Wanted: wanted}
	}
	if list := m.Contributions(); wanted.Kind == KindGit && len(list) > 0 && !takeOver {
		return &TakeOverError{Present: present, Wanted: wanted, Gone: list}
	}
	return nil
}

// SetFile makes the file or the folder at path, which is absolute, the followed
// source. It holds what the returned Update says; the caller hands that on. text is
// what the caller found there, or nil; the agent must find the same. A text that is
// not valid (*spec.InvalidError) and a refused take-over change nothing.
func (m *Manager) SetFile(path string, text []byte, takeOver bool) (Update, error) {
	return m.ApplyFile(path, text, Order{TakeOver: takeOver})
}

// kindAt is how what is at a path is followed. What is not there yet is a file,
// unless it is written as a folder.
func kindAt(path string) string {
	if strings.HasSuffix(path, "/") || isFolder(path) {
		return KindFolder
	}
	return KindFile
}

// Pin makes text the source, as it is. name is what it is called in problems and
// in the status. Errors are as of SetFile.
func (m *Manager) Pin(name string, text []byte, takeOver bool) (Update, error) {
	return m.ApplyText(name, text, Order{TakeOver: takeOver})
}

func (m *Manager) replace(next Source, text []byte, o Order) (Update, error) {
	m.writing.Lock()
	defer m.writing.Unlock()
	if err := m.may(next, text, o); err != nil {
		return Update{}, err
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
	gone := m.Contributions()
	u, err := m.record(next, text)
	if err == nil && next.Kind == KindGit {
		err = m.dropContributed(gone)
	}
	return u, err
}

// may tells whether an order may make a text the spec, and another source its source.
func (m *Manager) may(next Source, text []byte, o Order) error {
	contributed := m.Contributions()
	if next.Kind == KindGit { // which they do not go with
		contributed = nil
	}
	if _, err := m.fits(next.Path, text, contributed); err != nil {
		return err
	}
	if err := m.check(next, o.TakeOver); err != nil {
		return err
	}
	if err := m.checkBase(o.Base); err != nil {
		return err
	}
	if s := m.Current().Suspended; s != nil && !o.Resume {
		return &SuspendedError{s, "agentctl resume follows the source again, apply --resume takes this spec"}
	}
	return nil
}

// UseFlags names the file or the folder that the agent's flags give. It holds only if
// no source is recorded, which taken tells. It need not be there yet.
func (m *Manager) UseFlags(path string) (taken bool, err error) {
	if !filepath.IsAbs(path) {
		return false, fmt.Errorf("cannot follow %s: the path is not absolute", path)
	}
	return m.useFlags(Source{Kind: kindAt(path), Path: filepath.Clean(path)})
}

func (m *Manager) useFlags(next Source) (taken bool, err error) {
	m.writing.Lock()
	defer m.writing.Unlock()
	present := m.Current()
	same := present.By == ByFlags && present.samePlace(next)
	switch {
	case present.Kind != "" && !same, same && present.Git == nil, same && *present.Git == *next.Git:
		return same, nil
	case same: // the same repository by other files, or at another interval
		present.Git = next.Git
		next = present
	default:
		next.By, next.Since = ByFlags, time.Now()
	}
	_, err = m.record(next, nil)
	return err == nil, err
}

// record makes next the source: on disk first, then for whoever asks. Updates of
// the old one that are still on their way are dropped from here on.
func (m *Manager) record(next Source, text []byte) (Update, error) {
	if next.Version = recordVersion; next.Suspended != nil || next.Kind == KindFolder || next.Kind == KindGit {
		next.Version = newVersion
	}
	old := m.Current()
	if err := m.write(next); err != nil {
		return Update{}, err
	}
	m.dropTexts(old, next)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.source, m.text = next, nil
	if next.Kind == KindGit { // else the next reading would still have them over it
		m.contributed = nil
	}
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

func (m *Manager) write(s Source) error {
	crash.Point("source.record")
	if err := fsx.WriteJSON(m.sourceFile(), s, 0o600); err != nil {
		return fmt.Errorf("cannot record the source: %w", err)
	}
	crash.Point("source.recorded")
	return nil
}

// rewrite records more of the present source, which stays the same.
func (m *Manager) rewrite(s Source) error {
	if err := m.write(s); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.source = s
	return nil
}
