package spec

import (
	"fmt"

	"gopkg.in/yaml.v3"
)

type pair struct{ key, value *yaml.Node }

// pairs are the keys and values of a mapping in their order, with merge keys
// (`<<: *anchor`) resolved: what is written in the mapping itself wins.
func (d *decoder) pairs(n *yaml.Node, at place) ([]pair, bool) {
	if n.Kind != yaml.MappingNode || n.ShortTag() != tagMap {
		d.wrongType(n, at, "a mapping (key: value)")
		return nil, false
	}
	var own []pair
	var merged []*yaml.Node
	seen := map[string]int{} // key → line
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.ScalarNode && key.ShortTag() == tagMerge {
			merged = append(merged, value)
			continue
		}
		if !d.key(key, at) {
			continue
		}
		if line, twice := seen[key.Value]; twice {
			d.report(d.position(key), SeverityError, keyPath(at.path, key.Value),
				"is given twice", fmt.Sprintf("delete this one or the one on line %d", line))
			continue
		}
		seen[key.Value] = key.Line
		own = append(own, pair{key, value})
	}
	for _, m := range merged {
		for _, p := range d.merge(m, at) {
			if _, there := seen[p.key.Value]; !there {
				seen[p.key.Value] = p.key.Line
				own = append(own, p)
			}
		}
	}
	return own, true
}

// key says whether n can be a key at all.
func (d *decoder) key(n *yaml.Node, at place) bool {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == tagStr {
		return true
	}
	fix := "write a plain word"
	if n.Kind == yaml.ScalarNode && scalarText.MatchString(n.Value) {
		fix = fmt.Sprintf("write %q, in quotes", n.Value)
	}
	what := kindOf(n)
	if n.Kind == yaml.AliasNode {
		what = "an alias"
	}
	d.report(d.position(n), SeverityError, at.path, "a key is "+what+", not a text", fix)
	return false
}

// merge are the pairs that a merge key brings: of one mapping, or of several, where
// the earlier wins.
func (d *decoder) merge(n *yaml.Node, at place) []pair {
	if n.Kind == yaml.AliasNode {
		if d.open[n] {
			d.fail(n, at, "the anchor "+quote(n.Value)+" contains itself", "write out what is meant")
			return nil
		}
		d.open[n] = true
		defer delete(d.open, n)
		return d.merge(n.Alias, at)
	}
	if !d.spend(n, at) {
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		out, _ := d.pairs(n, at)
		return out
	case yaml.SequenceNode:
		var out []pair
		for _, item := range n.Content {
			out = append(out, d.merge(item, at)...)
		}
		return out
	}
	d.fail(n, at, "the value of << is "+kindOf(n)+", not a mapping", "write `<<: *name`, where name is the anchor of a mapping")
	return nil
}
