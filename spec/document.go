package spec

import (
	"bytes"
	"errors"
	"fmt"
	"io"
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
	n, _, problems := choice{base: docs[0]}.decode()
	return n, problems
}

// DecodeFor reads the spec of one machine out of a text that may hold those of many:
// the Node whose metadata.name or match fits it, or else the only one, or else the
// only one that is for no machine by name; and over it the patches that fit. Faults
// of the others are not told.
func DecodeFor(file string, data []byte, host Host) (*Node, Problems) {
	c, problems := choose(file, data, host)
	if problems != nil {
		return nil, problems
	}
	n, _, problems := c.decode()
	if n != nil {
		n.Match = nil // it has chosen, and is no part of what is wanted
		over(&n.Metadata.Name, host.Called)
	}
	return n, problems
}

// DecodeAll reads every document of a text: each Node with the patches that are for
// all machines, and every patch for itself. A Node is nil where there is an error.
func DecodeAll(file string, data []byte) ([]*Node, Problems) {
	docs, problems := split(file, data)
	if problems != nil {
		return nil, problems
	}
	bases, patches, problems := sorts(docs)
	if problems.Err() != nil {
		return nil, problems
	}
	for _, p := range patches {
		problems = append(problems, p.alone()...)
	}
	if problems.Err() != nil {
		return nil, problems.sorted()
	}
	common := lo.Filter(patches, func(p patch, _ int) bool { return p.Match == nil })
	var nodes []*Node
	for i, doc := range bases {
		n, _, found := choice{doc, common}.decode()
		nodes, problems = append(nodes, n), append(problems, found...)
		same := slices.IndexFunc(bases[:i], func(d document) bool { return d.name() == doc.name() && d.match == nil && doc.match == nil })
		if same >= 0 {
			problems = append(problems, doc.misfit(file, "the file holds "+listed([]document{bases[same], doc})+" for one node", "keep one of them")...)
		}
	}
	return nodes, problems.sorted()
}

// document is one of those in a file.
type document struct {
	root  *yaml.Node
	file  string
	match *Match // of a Node, once it was read
}

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

// word is a text at the top of a document that may be faulty.
func (d document) word(key string) string {
	if n := child(d.root, key); n != nil && n.Kind == yaml.ScalarNode {
		return n.Value
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

// foreign reports a document of another kind, of which every key would be unknown.
func (d *decoder) foreign(root *yaml.Node) bool {
	kind := child(root, "kind")
	if kind == nil || kind.Kind != yaml.ScalarNode || kind.Value == KindNode {
		return true
	}
	if kind.Value == KindNodePatch {
		d.report(d.position(kind), SeverityError, "kind", "a patch alone is no node", "add a document of the kind "+KindNode+" that it is laid over")
		return false
	}
	if near := nearest(kind.Value, []string{KindNodePatch}); near != "" {
		d.report(d.position(kind), SeverityError, "kind", quote(kind.Value)+" is not a kind of agentctl", "did you mean "+near+"?")
		return false
	}
	if nearest(kind.Value, []string{KindNode}) != "" {
		return true // said when it is decoded
	}
	d.report(d.position(kind), SeverityError, "kind",
		quote(kind.Value)+" is not a kind of agentctl", "write `kind: "+KindNode+"`, or take the document out")
	return false
}

// split parses the documents of a text, which Join may have made of several files;
// empty ones between two --- don't count.
func split(file string, data []byte) ([]document, Problems) {
	if p := tooLarge(data); p != nil {
		p.File = file
		return nil, Problems{*p}
	}
	var docs []document
	for _, f := range parted(file, data) {
		if f.Name != file { // of a repository: whoever pushes names it
			f.Name = shownName(f.Name)
		}
		found, p := f.documents()
		if p != nil {
			p.File = f.Name
			return nil, Problems{*p}
		}
		docs = append(docs, found...)
	}
	if len(docs) == 0 {
		return nil, Problems{{
			File: file, Line: 1, Column: 1, Severity: SeverityError, Fault: "there is no document",
			Fix: "write one that begins with `apiVersion: " + APIVersion + "`; to stop all workers write `workers: []`",
		}}
	}
	return docs, nil
}

func (f File) documents() ([]document, *Problem) {
	if p := unreadable(f.Text); p != nil {
		return nil, p
	}
	var docs []document
	reader := yaml.NewDecoder(bytes.NewReader(f.Text))
	for {
		var n yaml.Node
		err := reader.Decode(&n)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			p := syntaxProblem(f.Text, err)
			return nil, &p
		}
		if len(n.Content) == 1 && (n.Content[0].Kind != yaml.ScalarNode || n.Content[0].ShortTag() != tagNull) {
			docs = append(docs, document{root: n.Content[0], file: f.Name})
		}
	}
}

// misfit is a fault of a whole document among several.
func (d document) misfit(file, fault, fix string) Problems {
	if d.file != file {
		fault = strings.Replace(fault, "the file holds ", "there are ", 1)
	}
	return Problems{{
		File: d.file, Line: d.root.Line, Column: d.root.Column, Severity: SeverityError, Fault: fault, Fix: fix,
	}}
}

// listed renders documents for a message.
func listed(docs []document) string {
	files := len(lo.UniqBy(docs, func(d document) string { return d.file })) > 1
	names := lo.Map(docs[:min(len(docs), 10)], func(d document, _ int) string {
		where := fmt.Sprintf("line %d", d.root.Line)
		if files {
			where = fmt.Sprintf("%s:%d", quote(d.file), d.root.Line)
		}
		if d.name() == "" {
			return where + ": without a name"
		}
		return where + ": " + quote(d.name())
	})
	if len(docs) > len(names) {
		names = append(names, "…")
	}
	return fmt.Sprintf("%d documents (%s)", len(docs), strings.Join(names, ", "))
}
