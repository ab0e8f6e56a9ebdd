package source

import (
	"context"
	"fmt"
	"slices"

	"github.com/samber/lo"

	"agentctl/spec"
)

// place finds the id and the names of a contribution among those that are there, and
// tells whether all of them together are a spec.
func (m *Manager) place(w Wanted) (Contribution, []Contribution, error) {
	c, list := w.Contribution, m.Contributions()
	present := m.Current()
	switch {
	case present.Kind == "":
		return c, nil, &ContributionError{"no spec was applied yet that workers could be added to"}
	case present.Kind == KindGit:
		return c, nil, &ContributionError{fmt.Sprintf("the spec comes from %s, and from nowhere else: add the worker there, or apply another source with --take-over", present)}
	case len(list) >= maxContributions:
		return c, nil, &ContributionError{fmt.Sprintf("there are %d contributed workers already; take some back with agentctl daemon --stop", len(list))}
	}
	c.ID = w.id(list)
	same := slices.IndexFunc(list, func(o Contribution) bool { return o.ID == c.ID })
	if same >= 0 && !w.Abandoned(list[same]) {
		return c, nil, &ContributionError{fmt.Sprintf("the worker %s is there already (%s); take it back with `agentctl daemon --stop %s`, or give this one another id (CLEARML_WORKER_ID)",
			c.ID, list[same].Origin(), c.ID)}
	}
	others := lo.Reject(list, func(o Contribution, _ int) bool { return o.ID == c.ID })
	file, text := m.basis(others)
	c.Workers = w.named(c.ID, m.names(file, text, others))
	all := sorted(append(others, c))
	if _, err := m.fits(file, text, all); err != nil {
		return c, nil, err
	}
	return c, all, nil
}

// id is the wanted one, with a number that nobody has where it asks for one.
func (w Wanted) id(list []Contribution) string {
	if !w.Slot {
		return w.ID
	}
	for slot := 0; ; slot++ {
		id := fmt.Sprintf("%s:%d", w.ID, slot)
		if !slices.ContainsFunc(list, func(c Contribution) bool { return c.ID == id && !w.Abandoned(c) }) {
			return id
		}
	}
}

// basis is what a contribution is checked against: what the source has, or what is in
// force, where that can't be read or is not valid.
func (m *Manager) basis(others []Contribution) (string, []byte) {
	present := m.Current()
	text := m.pinned()
	if present.Kind == KindFile || present.Kind == KindFolder {
		r, _ := calm(context.Background(), present)
		text = r.text
	}
	good, last, ok := m.LastGood()
	if _, err := m.fits(present.Path, text, others); ok && (err != nil || present.Suspended != nil) {
		return good.Path, good.layered(last).own()
	}
	return present.Path, text
}

// names are those that groups have already.
func (m *Manager) names(file string, text []byte, list []Contribution) map[string]bool {
	out := map[string]bool{}
	if n, _ := spec.DecodeFor(file, text, m.opts.Host); n != nil {
		for _, g := range n.Spec.Workers {
			out[g.Name] = true
		}
	}
	for _, c := range list {
		for _, g := range c.Workers {
			out[g.Name] = true
		}
	}
	return out
}

// named gives the groups that are called by the wanted id the one that it became, and
// all of them names that no other has.
func (w Wanted) named(id string, taken map[string]bool) []spec.WorkerSpec {
	return lo.Map(w.Workers, func(g spec.WorkerSpec, _ int) spec.WorkerSpec {
		if g.ID == w.ID {
			g.ID = id
		}
		wish := g.Name
		for n := 2; taken[g.Name]; n++ {
			g.Name = fmt.Sprintf("%s-%d", wish, n)
		}
		taken[g.Name] = true
		return g
	})
}
