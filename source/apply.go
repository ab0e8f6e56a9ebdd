package source

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Order is an operator's word on which spec is to be in force.
type Order struct {
	// TakeOver replaces a source that belongs to somebody else, Resume one that is
	// suspended.
	TakeOver, Resume bool
	// Base is the revision that the operator has seen in force: its number, or the
	// beginning of its digest. Another one there is a *MovedError.
	Base string
	// By is who gave the order, and Message why.
	By, Message string
	// AllowEmpty says that the node is to have no workers.
	AllowEmpty bool
	// Try puts the text in force for so long only, unless Confirm comes; 0: for good.
	Try time.Duration
}

// Word is an order, kept with the source until the text that it was about is accepted.
type Word struct {
	Digest  string `json:"digest"`
	By      string `json:"by,omitempty"`
	Message string `json:"message,omitempty"`
	// AllowEmpty is that of the order.
	AllowEmpty bool      `json:"allowEmpty,omitempty"`
	Time       time.Time `json:"time"`
}

// MayEmpty tells that an order about this very text lets it take away all workers.
func (u Update) MayEmpty() bool {
	w := u.Source.Said
	return w != nil && w.AllowEmpty && w.Digest == digest(u.Text)
}

// MovedError says that another revision is in force than the operator has seen.
type MovedError struct {
	Base string
	Is   string
}

func (e *MovedError) Error() string {
	return fmt.Sprintf("the live state has moved: revision %s is in force, not %s; look at the plan again", e.Is, e.Base)
}

// minDigest is how much of a digest stands for it.
const minDigest = 8

// is tells whether a revision is the one that an operator means.
func (r *Revision) is(base string) bool {
	if r == nil {
		return base == "0"
	}
	digest := strings.TrimSuffix(base, "…")
	return base == strconv.FormatInt(r.Number, 10) || len(digest) >= minDigest && strings.HasPrefix(r.Digest, digest)
}

func (m *Manager) checkBase(base string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if base == "" || m.good.is(base) {
		return nil
	}
	now := "0"
	if m.good != nil {
		now = fmt.Sprintf("%d (%s)", m.good.Number, m.good.Digest[:min(12, len(m.good.Digest))])
	}
	return &MovedError{Base: base, Is: now}
}

// ApplyFile is SetFile by an order.
func (m *Manager) ApplyFile(path string, text []byte, o Order) (Update, error) {
	if !filepath.IsAbs(path) {
		return Update{}, fmt.Errorf("cannot follow %s: the path is not absolute", path)
	}
	path = filepath.Clean(path)
	found, err := ReadPath(path)
	if err != nil {
		return Update{}, err
	}
	if text != nil && !bytes.Equal(text, found) {
		return Update{}, &ChangedError{path}
	}
	return m.replace(Source{Kind: kindAt(path), Path: path}, found, o)
}

// ApplyText is Pin by an order.
func (m *Manager) ApplyText(name string, text []byte, o Order) (Update, error) {
	if name == "" {
		name = "-"
	}
	return m.replace(Source{Kind: KindPinned, Path: name, Digest: digest(text)}, bytes.Clone(text), o)
}
