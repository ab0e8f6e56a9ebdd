package spec

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/samber/lo"
	"gopkg.in/yaml.v3"
)

// choice is what makes up the spec of one machine: a Node and what is laid over it, in
// order.
type choice struct {
	base    document
	patches []patch
}

// choose finds the documents for a host.
func choose(file string, data []byte, host Host) (choice, Problems) {
	docs, problems := split(file, data)
	if problems != nil {
		return choice{}, problems
	}
	nodes, patches, problems := sorts(docs)
	if problems.Err() != nil {
		return choice{}, problems
	}
	base, problems := theNode(file, nodes, host)
	if problems != nil {
		return choice{}, problems
	}
	return choice{base, lo.Filter(patches, func(p patch, _ int) bool { return p.Match == nil || p.Match.fits(host) })}, nil
}

// sorts parts the documents into those of nodes and patches, the latter in the order
// in which they are laid over. A fault in what chooses is told whatever the host is:
// else one typing error would quietly take a patch away.
func sorts(docs []document) (nodes []document, patches []patch, problems Problems) {
	for _, doc := range docs {
		if doc.word("kind") == KindNodePatch {
			p, found := patchOf(doc)
			patches, problems = append(patches, p), append(problems, found...)
			continue
		}
		dec := newDecoder(doc)
		if n := child(doc.root, "match"); n != nil {
			dec.value(n, reflect.ValueOf(&doc.match).Elem(), place{path: "match", key: "match", rule: ruleOf(reflect.TypeFor[Node](), "match")})
			if m := doc.match; m != nil && len(dec.problems) == 0 {
				dec.fields(reflect.ValueOf(m).Elem(), "match")
				dec.validMatch(m)
			}
			problems = append(problems, dec.problems...)
		}
		if len(docs) > 1 && strings.HasPrefix(doc.word("apiVersion"), "agentctl/") && doc.word("kind") != KindNode {
			other := newDecoder(doc)
			other.foreign(doc.root)
			problems = append(problems, other.problems...)
		}
		nodes = append(nodes, doc)
	}
	slices.SortStableFunc(patches, func(a, b patch) int { return cmp.Compare(a.Order, b.Order) })
	return nodes, patches, problems.sorted()
}

// theNode is the document whose name or match fits the host, or else the only one, or
// else the only one that names no machine.
func theNode(file string, nodes []document, host Host) (document, Problems) {
	if len(nodes) == 0 {
		return document{}, Problems{{
			File: file, Line: 1, Column: 1, Severity: SeverityError, Fault: "there are patches, but no document of the kind " + KindNode,
			Fix: "add one that they are laid over",
		}}
	}
	name := NodeName(host.Name)
	fit := lo.Filter(nodes, func(d document, _ int) bool { return d.name() == name || d.match.fits(host) })
	free := lo.Filter(nodes, func(d document, _ int) bool { return d.match == nil })
	if len(fit) == 0 && len(nodes) == 1 {
		fit = free
	}
	if len(fit) == 0 {
		fit = lo.Filter(free, func(d document, _ int) bool { return d.name() == "" })
	}
	switch {
	case len(fit) > 1:
		return document{}, fit[1].misfit(file, "the file holds "+listed(fit)+" for one node", "keep one of them")
	case len(fit) == 1:
		return fit[0], nil
	}
	return document{}, nodes[0].misfit(file, "none of the "+listed(nodes)+" is for the node "+quote(host.Name),
		"write this name as metadata.name of one of them, or a match that fits it")
}

// decode makes the Node of a choice, and tells where each of its values stands.
func (c choice) decode() (*Node, map[string]position, Problems) {
	dec := newDecoder(c.base)
	if !dec.limits(c.base.root) || !dec.foreign(c.base.root) {
		return nil, nil, dec.problems
	}
	root := c.base.root
	if len(c.patches) > 0 {
		if root = c.merged(dec); root == nil {
			return nil, nil, dec.problems.sorted()
		}
	}
	n := &Node{}
	dec.value(root, reflect.ValueOf(n).Elem(), place{rule: rule{example: "apiVersion: " + APIVersion + ", kind: " + KindNode + ", spec: …"}})
	if !dec.failed[""] {
		dec.validate(n)
	}
	problems := dec.problems.sorted()
	if len(problems.Errors()) > 0 {
		return nil, nil, problems
	}
	return n, dec.at, problems
}

// merged lays the patches over the base; nil if there was a fault. The limits hold
// for what comes of it: layers must not be a way around them.
func (c choice) merged(dec *decoder) *yaml.Node {
	base := dec.doc
	root := dec.flatten(c.base.root, place{})
	for _, p := range c.patches {
		dec.doc = &p.doc
		from := dec.flatten(p.Spec.node, place{path: "spec"})
		key := &yaml.Node{Kind: yaml.ScalarNode, Tag: tagStr, Value: "spec", Line: from.Line, Column: from.Column}
		dec.from[key] = dec.doc
		if at, there := keyIndex(root, "spec"); there {
			key = root.Content[at]
		}
		if len(dec.problems) == 0 && root.Kind == yaml.MappingNode {
			dec.overlay(root, &yaml.Node{Kind: yaml.MappingNode, Tag: tagMap, Content: []*yaml.Node{key, from}}, "")
		}
	}
	dec.doc, dec.visits = base, 0
	if len(dec.problems) > 0 || !dec.limits(root) {
		return nil
	}
	return root
}

// Origin is where a value was written.
type Origin struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
	// Document is the kind and the name of the document, as NodePatch rack-r2.
	Document string `json:"document"`
}

// String renders o as file:line (document).
func (o Origin) String() string { return fmt.Sprintf("%s:%d (%s)", o.File, o.Line, o.Document) }

// Origins tells of each value of the spec of a host where it was written, by its path
// as in Change: spec.workers[train].count.
func Origins(file string, data []byte, host Host) (map[string]Origin, Problems) {
	c, problems := choose(file, data, host)
	if problems != nil {
		return nil, problems
	}
	n, at, problems := c.decode()
	if n == nil {
		return nil, problems
	}
	out := map[string]Origin{}
	for path, p := range at {
		out[named(path, n.Spec.Workers)] = Origin{p.doc.file, p.line, p.column, strings.TrimSpace(p.doc.word("kind") + " " + p.doc.name())}
	}
	return out, nil
}

// named writes the name of a group of workers for its index.
func named(path string, groups []WorkerSpec) string {
	for i, g := range groups {
		if rest, ok := strings.CutPrefix(path, indexPath("spec.workers", i)); ok {
			return "spec.workers[" + g.Name + "]" + rest
		}
	}
	return path
}
