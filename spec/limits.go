package spec

import (
	"fmt"

	"gopkg.in/yaml.v3"
)

// limits refuses a document that is nested too deeply or is full of aliases, before
// anything follows them.
func (d *decoder) limits(root *yaml.Node) bool {
	aliases := 0
	var walk func(n *yaml.Node, depth int) bool
	walk = func(n *yaml.Node, depth int) bool {
		if depth > maxDepth {
			d.report(d.position(n), SeverityError, "", fmt.Sprintf("is nested more than %d deep", maxDepth), "write less lists and mappings inside each other")
			return false
		}
		if n.Kind == yaml.AliasNode {
			if aliases++; aliases > maxAliases {
				d.report(d.position(n), SeverityError, "", fmt.Sprintf("has more than %d aliases", maxAliases), "write out what they stand for")
				return false
			}
		}
		for _, c := range n.Content {
			if !walk(c, depth+1) {
				return false
			}
		}
		return true
	}
	return walk(root, 0)
}
