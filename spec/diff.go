package spec

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/samber/lo"
)

// Change is one field that differs between two nodes. Old is "" where the field is
// new, New where it is gone; both are written as in a document, on one line.
type Change struct {
	// Path of the field; a group of workers goes by its name: spec.workers[train].count.
	Path  string `json:"path"`
	Old   string `json:"old,omitempty"`
	New   string `json:"new,omitempty"`
	Class Class  `json:"class"`
}

// String renders c for people.
func (c Change) String() string {
	switch {
	case c.Old == "":
		return fmt.Sprintf("%s: + %s", c.Path, c.New)
	case c.New == "":
		return fmt.Sprintf("%s: - %s", c.Path, c.Old)
	}
	return fmt.Sprintf("%s: %s -> %s", c.Path, c.Old, c.New)
}

// Diff tells field by field what changes from a to b, in the order of the types,
// and when each change takes effect. Either may be nil, which is an empty node.
// Compare nodes with their defaults, else a default that is written out is a change.
func Diff(a, b *Node) []Change {
	d := differ{}
	d.fields("", reflect.ValueOf(lo.FromPtr(a)), reflect.ValueOf(lo.FromPtr(b)))
	return d.changes
}

// Fields lists every field of n that has a value, each as a change from nothing.
func Fields(n *Node) []Change {
	empty := &Node{}
	for _, g := range n.Spec.Workers { // else a group is one change as a whole
		empty.Spec.Workers = append(empty.Spec.Workers, WorkerSpec{Name: g.Name})
	}
	return Diff(empty, n)
}

type differ struct{ changes []Change }

func (d *differ) fields(path string, a, b reflect.Value) {
	t := a.Type()
	for i := range t.NumField() {
		key, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if key == "" || key == "-" {
			continue
		}
		at, r := keyPath(path, key), ruleOf(t, key)
		switch x := a.Field(i).Interface().(type) {
		case []WorkerSpec:
			d.groups(at, x, b.Field(i).Interface().([]WorkerSpec))
		case map[string]string:
			d.table(at, x, b.Field(i).Interface().(map[string]string), r)
		default:
			if _, union := reflect.New(t.Field(i).Type).Interface().(nodeDecoder); t.Field(i).Type.Kind() == reflect.Struct && !union {
				d.fields(at, a.Field(i), b.Field(i))
				continue
			}
			d.leaf(at, a.Field(i), b.Field(i), r)
		}
	}
}

func (d *differ) leaf(path string, a, b reflect.Value, r rule) {
	before, after := written(a), written(b)
	if before == after {
		return
	}
	class := r.classOf()
	if n, ok := more(a, b); ok && n { // more workers end none
		class = ClassLive
	}
	d.changes = append(d.changes, Change{Path: path, Old: before, New: after, Class: class})
}

// more says of two counts whether b is at least a; a count left out is one.
func more(a, b reflect.Value) (bool, bool) {
	x, ok := a.Interface().(*int)
	if !ok {
		return false, false
	}
	return lo.FromPtrOr(b.Interface().(*int), 1) >= lo.FromPtrOr(x, 1), true
}

// written is a value as a document has it, "" where it is left out.
func written(v reflect.Value) string {
	if v.IsZero() {
		return ""
	}
	return flow(v.Interface())
}

func (d *differ) table(path string, a, b map[string]string, r rule) {
	keys := lo.Uniq(append(lo.Keys(a), lo.Keys(b)...))
	slices.Sort(keys)
	for _, key := range keys {
		before, had := a[key]
		after, has := b[key]
		if had == has && before == after {
			continue
		}
		c := Change{Path: keyPath(path, key), Class: r.classOf()}
		if had {
			c.Old = flow(before)
		}
		if has {
			c.New = flow(after)
		}
		d.changes = append(d.changes, c)
	}
}

// groups compares groups of workers by their names: first those that stay or go, as
// they stood, then the new ones.
func (d *differ) groups(path string, a, b []WorkerSpec) {
	before, after := names(a), names(b)
	for _, g := range a {
		at := path + "[" + g.Name + "]"
		i := slices.Index(after, g.Name)
		if i < 0 {
			d.changes = append(d.changes, Change{Path: at, Old: flow(g), Class: ClassDrain})
			continue
		}
		d.fields(at, reflect.ValueOf(g), reflect.ValueOf(b[i]))
	}
	for _, g := range b {
		if !slices.Contains(before, g.Name) {
			d.changes = append(d.changes, Change{Path: path + "[" + g.Name + "]", New: flow(g), Class: ClassLive})
		}
	}
	if x, y := shared(before, after), shared(after, before); !slices.Equal(x, y) {
		d.changes = append(d.changes, Change{Path: path + " (order)", Old: flow(x), New: flow(y), Class: ClassLive})
	}
}

func names(groups []WorkerSpec) []string {
	return lo.Map(groups, func(g WorkerSpec, _ int) string { return g.Name })
}

// shared are those of list that are in other too, in the order of list.
func shared(list, other []string) []string {
	return lo.Filter(list, func(s string, _ int) bool { return slices.Contains(other, s) })
}
