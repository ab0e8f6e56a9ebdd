package spec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"
)

// MarshalYAML writes any value as YAML, with the names and the order of its JSON
// form: what a program prints with -o json and -o yaml is the same document. Any
// text is fine, also what YAML can't hold unescaped: names of tasks are hostile.
func MarshalYAML(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("cannot write as YAML: %w", err)
	}
	tokens := json.NewDecoder(bytes.NewReader(text))
	tokens.UseNumber()
	root, err := nodeOf(tokens)
	if err != nil {
		return nil, fmt.Errorf("cannot write as YAML: %w", err)
	}
	return marshal(root)
}

// blockText is what may be written as a block, line by line: no line begins or
// ends with a space or is empty, and one line break is at the end.
var blockText = regexp.MustCompile(`^([^\pZ\pC](\PC*[^\pZ\pC])?\n)+$`)

// nodeOf reads the next value. Parsing JSON as YAML would be shorter, but fails on
// characters that JSON allows and YAML does not.
func nodeOf(tokens *json.Decoder) (*yaml.Node, error) {
	token, err := tokens.Token()
	if err != nil {
		return nil, err
	}
	switch x := token.(type) {
	case json.Delim:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: tagMap}
		if x == '[' {
			n = &yaml.Node{Kind: yaml.SequenceNode, Tag: tagSeq}
		}
		for tokens.More() { // keys of an object come as values of their own
			child, err := nodeOf(tokens)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, child)
		}
		_, err := tokens.Token() // the closing bracket
		return n, err
	case json.Number: // its own text, so that no digit is lost
		return &yaml.Node{Kind: yaml.ScalarNode, Value: x.String()}, nil
	case string:
		return textNode(x)
	default:
		n := &yaml.Node{}
		return n, n.Encode(x)
	}
}

// textNode quotes what other readers of YAML take for a number or for true; yaml.v3
// does so by itself, but loses line breaks on the way.
func textNode(s string) (*yaml.Node, error) {
	n := &yaml.Node{}
	if !strings.ContainsAny(s, "\n\r\u0085\u2028\u2029") {
		return n, n.Encode(s)
	}
	n.Kind, n.Tag, n.Value, n.Style = yaml.ScalarNode, tagStr, s, yaml.DoubleQuotedStyle
	if blockText.MatchString(s) {
		n.Style = yaml.LiteralStyle
	}
	return n, nil
}
