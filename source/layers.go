package source

import (
	"bytes"
	"cmp"
	"fmt"

	"github.com/samber/lo"

	"agentctl/spec"
)

// Layer is laid over whatever the source has, as a NodePatch.
type Layer struct {
	// Name is what its text is called in problems and blame, in the place of a file.
	Name string
	Text []byte
}

// Layered is a text with what is laid over it.
type Layered struct {
	Text []byte
	// Own is how many bytes of it are the source's, which come first; 0: all.
	Own int
}

// own is the part of it that is the source's.
func (l Layered) own() []byte {
	if l.Own == 0 || l.Own > len(l.Text) {
		return l.Text
	}
	return l.Text[:l.Own]
}

// Over lays all layers over a text of the source: those of the options and, unless it
// is to stand alone, what was contributed. An error says that these don't go together.
func (m *Manager) Over(file string, text []byte, alone bool) (Layered, error) {
	list := m.Contributions()
	if alone {
		list = nil
	}
	return m.over(file, text, list)
}

func (m *Manager) over(file string, text []byte, list []Contribution) (Layered, error) {
	var layers []byte
	for _, l := range m.opts.Layers {
		layers = append(layers, spec.Join([]spec.File{{Name: l.Name, Text: l.Text}})...)
	}
	for _, c := range list {
		layer, err := c.layer()
		if err != nil {
			return Layered{}, err
		}
		layers = append(layers, spec.Join([]spec.File{layer})...)
	}
	if len(layers) == 0 || len(bytes.TrimSpace(text)) == 0 {
		return Layered{Text: text}, nil
	}
	if err := m.apart(file, text, list); err != nil {
		return Layered{}, err
	}
	out := Layered{Text: append(bytes.Clone(text), '\n'), Own: len(text)}
	out.Text = append(out.Text, layers...)
	return out, nil
}

// fits tells that a text, with all that is laid over it, is a spec.
func (m *Manager) fits(file string, text []byte, list []Contribution) (*spec.Node, error) {
	l, err := m.over(file, text, list)
	if err != nil {
		return nil, err
	}
	n, problems := spec.DecodeFor(file, l.Text, m.opts.Host)
	return n, problems.Err()
}

// contributedError refuses a text whose groups have names that contributed ones have.
type contributedError struct{ *spec.InvalidError }

func (e *contributedError) Unwrap() error { return e.InvalidError }

// Reason is that of the condition.
func (e *contributedError) Reason() string { return "Contributed" }

// apart finds groups that are in the text and were contributed too: laid over each
// other they would be neither what the one said nor what the other did.
func (m *Manager) apart(file string, text []byte, list []Contribution) error {
	if len(list) == 0 {
		return nil
	}
	n, problems := spec.DecodeFor(file, text, m.opts.Host)
	if n == nil { // told by whoever takes the text
		return nil
	}
	owner := map[string]Contribution{}
	for _, c := range list {
		for _, g := range c.Workers {
			owner[g.Name] = c
		}
	}
	var twice spec.Problems
	for _, g := range n.Spec.Workers {
		c, taken := owner[g.Name]
		if !taken {
			continue
		}
		p := spec.Problem{
			File: file, Path: "spec.workers[" + g.Name + "].name", Severity: spec.SeverityError,
			Fault: fmt.Sprintf("a group of this name was contributed (%s)", c.Origin()),
			Fix:   fmt.Sprintf("take it back with `agentctl daemon --stop %s`, or give this one another name", c.ID),
		}
		if origins, problems := spec.Origins(file, text, m.opts.Host); problems.Err() == nil {
			at := origins[p.Path]
			p.File, p.Line, p.Column = cmp.Or(at.File, file), at.Line, at.Column
		}
		twice = append(twice, p)
	}
	if len(twice) == 0 {
		return nil
	}
	invalid := &spec.InvalidError{Problems: append(twice, problems.Warnings()...)}
	return &contributedError{invalid}
}

// Again is the last good spec under the layers of now; false if it has these already.
// So a contribution counts though the source can't be read, or holds what is not valid.
func (m *Manager) Again() (Revision, Layered, bool) {
	good, text, ok := m.LastGood()
	if !ok {
		return good, Layered{}, false
	}
	l, err := m.Over(good.Path, good.layered(text).own(), false)
	return good, l, err == nil && !bytes.Equal(l.Text, text)
}

// Has tells that a contribution is part of the last good spec, whatever came or went
// beside it since.
func (m *Manager) Has(c Contribution) bool {
	good, text, ok := m.LastGood()
	if !ok || good.Own == 0 {
		return false
	}
	layer, err := c.layer()
	return err == nil && bytes.Contains(text[good.Own:], spec.Join([]spec.File{layer}))
}

// InForce is what a suspension holds in force, or else what is, under the layers of now.
func (m *Manager) InForce(s *Suspension) (Held, Layered, error) {
	held := lo.FromPtr(s.Held)
	if s.Held == nil {
		good, text, ok := m.LastGood()
		if !ok {
			return held, Layered{}, nil
		}
		held = *good.held(good.layered(text).own())
	}
	l, err := m.Over(held.Path, held.Text, false)
	return held, l, err
}

// layered is the text of a revision.
func (r Revision) layered(text []byte) Layered { return Layered{Text: text, Own: r.Own} }

// own is the digest of the part of a revision's text that is the source's.
func (r Revision) own() string { return cmp.Or(r.OwnDigest, r.Digest) }

// held is a revision as a suspension holds it.
func (r Revision) held(own []byte) *Held {
	return &Held{Digest: r.own(), Number: r.Number, Kind: r.Kind, Path: r.Path, URL: r.URL, Ref: r.Ref, Commit: r.Commit, Text: own}
}
