package spec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/samber/lo"
	"gopkg.in/yaml.v3"
)

// Decode reads the one document of a file, which is named in the problems. The Node
// is nil if there is any error, else as written, without defaults.
func Decode(file string, data []byte) (*Node, Problems) {
	docs, problems := split(file, data)
	if problems != nil {
		return nil, problems
	}
	if len(docs) > 1 {
		return nil, docs[1].misfit(file, "the file holds "+listed(docs), "keep one, or choose one by the name of its node")
	}
	return docs[0].decode(file)
}

// DecodeFor reads the document for one node out of a file that may hold those of
// many: the only one, or else the one whose metadata.name is nodeName, or else the
// only one without a name. Faults of the others are not told.
func DecodeFor(file string, data []byte, nodeName string) (*Node, Problems) {
	docs, problems := split(file, data)
	if problems != nil {
		return nil, problems
	}
	if len(docs) == 1 {
		return docs[0].decode(file)
	}
	for _, name := range []string{NodeName(nodeName), ""} {
		fit := lo.Filter(docs, func(d document, _ int) bool { return d.name() == name })
		switch {
		case len(fit) > 1:
			return nil, fit[1].misfit(file, "the file holds "+listed(fit)+" for one node", "keep one of them")
		case len(fit) == 1:
			return fit[0].decode(file)
		}
	}
	return nil, docs[0].misfit(file, "none of the "+listed(docs)+" is for the node "+quote(nodeName),
		"write this name as metadata.name of one of them")
}

// DecodeAll reads every document of a file, each for itself. A Node is nil where its
// document has an error.
func DecodeAll(file string, data []byte) ([]*Node, Problems) {
	docs, problems := split(file, data)
	if problems != nil {
		return nil, problems
	}
	var nodes []*Node
	for _, doc := range docs {
		n, found := doc.decode(file)
		nodes, problems = append(nodes, n), append(problems, found...)
	}
	for i, doc := range docs {
		same := slices.IndexFunc(docs[:i], func(d document) bool { return d.name() == doc.name() })
		if same >= 0 {
			problems = append(problems, doc.misfit(file, "the file holds "+listed([]document{docs[same], doc})+" for one node", "keep one of them")...)
		}
	}
	return nodes, problems.sorted()
}

// document is one of those in a file.
type document struct{ root *yaml.Node }

// name is the metadata.name of a document that may be faulty.
func (d document) name() string {
	metadata := child(d.root, "metadata")
	if metadata == nil {
		return ""
	}
	if name := child(metadata, "name"); name != nil && name.Kind == yaml.ScalarNode && name.ShortTag() == tagStr {
		return name.Value
	}
	return ""
}

func child(n *yaml.Node, key string) *yaml.Node {
	if n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func (d document) decode(file string) (*Node, Problems) {
	dec := newDecoder(file)
	if !dec.limits(d.root) {
		return nil, dec.problems
	}
	if !dec.foreign(d.root) {
		return nil, dec.problems
	}
	n := &Node{}
	dec.value(d.root, reflect.ValueOf(n).Elem(), place{rule: rule{example: "apiVersion: " + APIVersion + ", kind: " + KindNode + ", spec: …"}})
	if !dec.failed[""] {
		dec.validate(n)
	}
	problems := dec.problems.sorted()
	if len(problems.Errors()) > 0 {
		return nil, problems
	}
	return n, problems
}

// foreign reports a document of another kind, of which every key would be unknown.
func (d *decoder) foreign(root *yaml.Node) bool {
	kind := child(root, "kind")
	if kind == nil || kind.Kind != yaml.ScalarNode || kind.Value == KindNode || nearest(kind.Value, []string{KindNode}) != "" {
		return true
	}
	d.report(position{kind.Line, kind.Column}, SeverityError, "kind",
		quote(kind.Value)+" is not a kind of agentctl", "write `kind: "+KindNode+"`, or take the document out")
	return false
}

// split parses the documents of a file; empty ones between two --- don't count.
func split(file string, data []byte) ([]document, Problems) {
	if p := unreadable(data); p != nil {
		p.File = file
		return nil, Problems{*p}
	}
	var docs []document
	reader := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var n yaml.Node
		err := reader.Decode(&n)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			p := syntaxProblem(data, err)
			p.File = file
			return nil, Problems{p}
		}
		if len(n.Content) == 1 && (n.Content[0].Kind != yaml.ScalarNode || n.Content[0].ShortTag() != tagNull) {
			docs = append(docs, document{n.Content[0]})
		}
	}
	if len(docs) == 0 {
		return nil, Problems{{
			File: file, Line: 1, Column: 1, Severity: SeverityError, Fault: "there is no document",
			Fix: "write one that begins with `apiVersion: " + APIVersion + "`; to stop all workers write `workers: []`",
		}}
	}
	return docs, nil
}

// misfit is a fault of a whole document among several.
func (d document) misfit(file, fault, fix string) Problems {
	return Problems{{
		File: file, Line: d.root.Line, Column: d.root.Column, Severity: SeverityError, Fault: fault, Fix: fix,
	}}
}

// listed renders the documents of a file for a message.
func listed(docs []document) string {
	names := lo.Map(docs[:min(len(docs), 10)], func(d document, _ int) string {
		if d.name() == "" {
			return fmt.Sprintf("line %d: without a name", d.root.Line)
		}
		return fmt.Sprintf("line %d: %s", d.root.Line, quote(d.name()))
	})
	if len(docs) > len(names) {
		names = append(names, "…")
	}
	return fmt.Sprintf("%d documents (%s)", len(docs), strings.Join(names, ", "))
}
