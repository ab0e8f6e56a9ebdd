package spec

import (
	"bytes"
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// Encode writes n as YAML that Decode reads back to the same Node.
func Encode(n *Node) ([]byte, error) {
	var root yaml.Node
	if err := root.Encode(n); err != nil {
		return nil, fmt.Errorf("cannot encode the node: %w", err)
	}
	data, err := marshal(&root)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the node: %w", err)
	}
	return data, nil
}

// EncodePatch writes a NodePatch that adds groups of workers, and what is set of git,
// over all other patches.
func EncodePatch(name string, workers []WorkerSpec, git Git) ([]byte, error) {
	type body struct {
		Git     Git          `yaml:"git,omitempty"`
		Workers []WorkerSpec `yaml:"workers"`
	}
	patch := struct {
		APIVersion string        `yaml:"apiVersion"`
		Kind       string        `yaml:"kind"`
		Metadata   PatchMetadata `yaml:"metadata"`
		Order      int           `yaml:"order"`
		Spec       body          `yaml:"spec"`
	}{APIVersion, KindNodePatch, PatchMetadata{name}, maxOrder, body{git, workers}}
	var root yaml.Node
	err := root.Encode(patch)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the patch: %w", err)
	}
	data, err := marshal(&root)
	if err != nil {
		return nil, fmt.Errorf("cannot encode the patch: %w", err)
	}
	return data, nil
}

func marshal(root *yaml.Node) ([]byte, error) {
	tidy(root)
	var b bytes.Buffer
	writer := yaml.NewEncoder(&b)
	writer.SetIndent(2)
	if err := writer.Encode(root); err != nil {
		return nil, err
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// tidy writes short lists of plain values on one line, as people do, and quotes
// what yaml.v3 would not.
func tidy(n *yaml.Node) {
	length := 0
	if n.Kind == yaml.ScalarNode && n.Value == "<<" { // a queue may have this name
		n.Tag, n.Style = tagStr, yaml.DoubleQuotedStyle
	}
	for _, c := range n.Content {
		tidy(c)
		if length += len(c.Value) + 2; c.Kind != yaml.ScalarNode {
			length = 1000
		}
	}
	if n.Kind == yaml.SequenceNode && length > 0 && length < 80 {
		n.Style = yaml.FlowStyle
	}
}

// flow writes any value on one line, for people.
func flow(v any) string {
	if v == nil {
		return ""
	}
	var n yaml.Node
	if err := n.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	setFlow(&n)
	data, err := yaml.Marshal(&n)
	if err != nil {
		return fmt.Sprint(v)
	}
	return strings.Join(strings.Fields(string(data)), " ")
}

func setFlow(n *yaml.Node) {
	n.Style = yaml.FlowStyle
	for _, c := range n.Content {
		if c.Kind != yaml.ScalarNode {
			setFlow(c)
		}
	}
}
