package spec

import (
	"encoding/json"
	"fmt"

	"gopkg.in/yaml.v3"
)

// MarshalYAML writes any value as YAML, with the names and the order of its JSON
// form: what a program prints with -o json and -o yaml is the same document.
func MarshalYAML(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("cannot write as YAML: %w", err)
	}
	var n yaml.Node // JSON is YAML, and a node keeps the order of the keys
	if err := yaml.Unmarshal(text, &n); err != nil {
		return nil, fmt.Errorf("cannot write as YAML: %w", err)
	}
	blockStyle(&n)
	return yaml.Marshal(&n)
}

func blockStyle(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		blockStyle(c)
	}
}
