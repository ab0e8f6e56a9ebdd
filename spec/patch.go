package spec

import (
	"reflect"
	"slices"

	"gopkg.in/yaml.v3"
)

// KindNodePatch is a document that is laid over the one chosen for a machine.
const KindNodePatch = "NodePatch"

// NodePatch changes some fields of the chosen Node.
type NodePatch struct {
	// Version of this format; always "agentctl/v1".
	APIVersion string `yaml:"apiVersion" json:"apiVersion"`
	// Kind of the document; always "NodePatch".
	Kind string `yaml:"kind" json:"kind"`
	// What the patch is called.
	Metadata PatchMetadata `yaml:"metadata" json:"metadata"`
	// The machines that it is for; left out: all.
	Match *Match `yaml:"match,omitempty" json:"match,omitempty"`
	// Patches with a higher number are laid over those with a lower one; equal ones in the order of
	// their files and documents.
	Order int `yaml:"order,omitempty" json:"order,omitempty"`
	// The fields to change, as in a Node. null takes a field away, a list replaces the whole list;
	// workers are changed by their names, others are added, and `workers: []` runs none.
	Spec Partial `yaml:"spec" json:"spec"`
}

// PatchMetadata names a patch.
type PatchMetadata struct {
	// Name of the patch, for people.
	Name string `yaml:"name" json:"name"`
}

// Partial is a part of a spec as it is written.
type Partial struct{ node *yaml.Node }

func (p *Partial) decodeNode(d *decoder, n *yaml.Node, at place) {
	if n.Kind != yaml.MappingNode {
		d.wrongType(n, at, "a mapping (key: value)")
		return
	}
	p.node = n
}

// patch is a NodePatch that was read, with what it lays over others.
type patch struct {
	NodePatch
	doc document
}

// patchOf reads a NodePatch but for what is in its spec.
func patchOf(doc document) (patch, Problems) {
	dec := newDecoder(doc)
	p := patch{doc: doc}
	if !dec.limits(doc.root) {
		return p, dec.problems
	}
	dec.value(doc.root, reflect.ValueOf(&p.NodePatch).Elem(), place{})
	if !dec.failed[""] {
		dec.fields(reflect.ValueOf(&p.NodePatch).Elem(), "")
		dec.validMatch(p.Match)
	}
	return p, dec.problems.sorted()
}

// alone tells the faults of a patch that need no Node to be seen.
func (p patch) alone() Problems {
	dec := newDecoder(p.doc)
	dec.partial = true
	root := dec.flatten(p.Spec.node, place{path: "spec"})
	dropNulls(root)
	dec.visits = 0
	var s NodeSpec
	if len(dec.problems) == 0 && dec.limits(root) {
		dec.value(root, reflect.ValueOf(&s).Elem(), place{path: "spec"})
		dec.fields(reflect.ValueOf(&s).Elem(), "spec")
	}
	return dec.problems.sorted()
}

func dropNulls(n *yaml.Node) {
	if n.Kind == yaml.MappingNode {
		for i := len(n.Content) - 2; i >= 0; i -= 2 {
			if isNull(n.Content[i+1]) {
				n.Content = slices.Delete(n.Content, i, i+2)
			}
		}
	}
	for _, c := range n.Content {
		dropNulls(c)
	}
}

// flatten copies n with aliases and merge keys written out, so that a patch of one
// place changes that place alone, and notes which document each part is of.
func (d *decoder) flatten(n *yaml.Node, at place) *yaml.Node {
	if n.Kind == yaml.AliasNode && d.open[n.Alias] {
		d.fail(n, at, "the anchor "+quote(n.Value)+" contains itself", "write out what is meant")
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: tagNull}
	}
	if n.Kind == yaml.AliasNode {
		return d.flatten(n.Alias, at)
	}
	d.open[n] = true
	defer delete(d.open, n)
	out := &yaml.Node{Kind: n.Kind, Tag: n.Tag, Value: n.Value, Style: n.Style, Line: n.Line, Column: n.Column}
	d.from[out] = d.doc
	if !d.spend(n, at) {
		return out
	}
	if n.Kind != yaml.MappingNode {
		for i, c := range n.Content {
			out.Content = append(out.Content, d.flatten(c, place{path: indexPath(at.path, i)}))
		}
		return out
	}
	pairs, _ := d.pairs(n, at)
	for _, p := range pairs {
		key := *p.key
		d.from[&key] = d.doc
		key.Anchor = ""
		out.Content = append(out.Content, &key, d.flatten(p.value, place{path: keyPath(at.path, key.Value), key: key.Value}))
	}
	return out
}

// overlay lays patch over base by RFC 7386: what is null is taken away, mappings are
// laid over each other, anything else replaces what was there. spec.workers is the
// one list whose elements have names, and is laid over by them.
func (d *decoder) overlay(base, patch *yaml.Node, path string) {
	for i := 0; i+1 < len(patch.Content); i += 2 {
		key, value := patch.Content[i], patch.Content[i+1]
		at, there := keyIndex(base, key.Value)
		if isNull(value) {
			if there {
				base.Content = slices.Delete(base.Content, at, at+2)
			}
			continue
		}
		here := keyPath(path, key.Value)
		workers := here == "spec.workers" && value.Kind == yaml.SequenceNode && len(value.Content) > 0
		next := value
		if value.Kind == yaml.MappingNode || workers {
			next = d.empty(value)
			if there && base.Content[at+1].Kind == value.Kind {
				next = base.Content[at+1]
			}
		}
		switch {
		case workers:
			d.overlayWorkers(next, value)
		case value.Kind == yaml.MappingNode:
			d.overlay(next, value, here)
		}
		if there {
			base.Content[at], base.Content[at+1] = key, next
		} else {
			base.Content = append(base.Content, key, next)
		}
	}
}

func (d *decoder) overlayWorkers(base, patch *yaml.Node) {
	for i, w := range patch.Content {
		name := ""
		if n := child(w, "name"); n != nil && n.Kind == yaml.ScalarNode {
			name = n.Value
		}
		if name == "" {
			d.fail(w, place{path: indexPath("spec.workers", i)}, "has no name", "write the name of the group that is to be changed, or of a new one")
			continue
		}
		at := slices.IndexFunc(base.Content, func(b *yaml.Node) bool {
			n := child(b, "name")
			return n != nil && n.Kind == yaml.ScalarNode && n.Value == name
		})
		if at < 0 {
			at = len(base.Content)
			base.Content = append(base.Content, d.empty(w))
		}
		d.overlay(base.Content[at], w, indexPath("spec.workers", at))
	}
}

// empty is a list or mapping without content, in the place of n.
func (d *decoder) empty(n *yaml.Node) *yaml.Node {
	out := *n
	out.Content = nil
	d.from[&out] = d.from[n]
	return &out
}

func keyIndex(n *yaml.Node, key string) (int, bool) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return i, true
		}
	}
	return 0, false
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == tagNull }
