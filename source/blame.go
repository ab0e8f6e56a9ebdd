package source

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/samber/lo"

	"agentctl/internal/fsx"
	"agentctl/spec"
)

// Blame finds the newest revision that changed a field, or the group that the field
// is of; nil if none that is kept did. history is newest first. A record that does not
// have all its changes may be the one, and is taken for it.
func Blame(path string, history []Revision) *Revision {
	for i, r := range history {
		for _, c := range r.Changes {
			if within(path, c.Path) || within(c.Path, path) {
				return &history[i]
			}
		}
		if r.Partial {
			return &history[i]
		}
	}
	return nil
}

// within tells that a path is another one, or lies below it.
func within(path, other string) bool {
	rest, ok := strings.CutPrefix(path, other)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// folded adds a revision to what is known of older ones, of which only the changes are
// kept that nothing newer covers: they grow with the fields of the spec, not with the
// number of its revisions. older is newest first.
func folded(older []Revision, r Revision) []Revision {
	covered := func(c spec.Change, _ int) bool {
		return lo.ContainsBy(r.Changes, func(newer spec.Change) bool { return within(c.Path, newer.Path) })
	}
	slim := Revision{Version: r.Version, Number: r.Number, Time: r.Time, Commit: r.Commit, Cause: r.Cause, By: r.By, Message: r.Message, Partial: r.Partial}
	for _, c := range r.Changes {
		if c.New != "" { // else there is no such field any more
			slim.Changes = append(slim.Changes, spec.Change{Path: c.Path, Class: c.Class})
		}
	}
	out := []Revision{slim}
	if r.Partial { // it may have changed anything
		return out
	}
	for _, o := range older {
		if o.Changes = lo.Reject(o.Changes, covered); len(o.Changes) > 0 || o.Partial {
			out = append(out, o)
		}
	}
	return lo.Filter(out, func(r Revision, _ int) bool { return len(r.Changes) > 0 || r.Partial })
}

func (m *Manager) olderFile() string { return filepath.Join(m.dir, "older.json") }

// fold keeps for Blame what a revision changed that is about to be dropped. It is not
// worth waiting for the disk: without it a field is only said to be older.
func (m *Manager) fold(n int64) error {
	r, _, err := m.read(n)
	if err != nil {
		return err
	}
	older, err := m.Older()
	if err != nil { // begin anew: it would not mend by itself
		m.opts.Log.Warn("which fields older specs changed is forgotten", "error", err)
	}
	if len(older) > 0 && older[0].Number >= n { // died before it was dropped
		return nil
	}
	return fsx.ReplaceJSON(m.olderFile(), folded(older, *r), 0o600)
}

// Older is what Blame needs of the revisions that are not kept any more, newest first.
func (m *Manager) Older() (older []Revision, err error) {
	err = fsx.ReadJSON(m.olderFile(), &older)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return older, err
}
