package spec

import (
	"fmt"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"
)

// Tags of YAML's own types.
const (
	tagNull  = "!!null"
	tagBool  = "!!bool"
	tagInt   = "!!int"
	tagFloat = "!!float"
	tagStr   = "!!str"
	tagSeq   = "!!seq"
	tagMap   = "!!map"
	tagMerge = "!!merge"
	tagTime  = "!!timestamp"
)

// nodeDecoder is a type that is written in more ways than one.
type nodeDecoder interface {
	decodeNode(d *decoder, n *yaml.Node, at place)
}

// place is where in a document a value stands: its path, and the rule of its field.
type place struct {
	path string
	key  string // the last key of the path
	rule rule
}

type position struct {
	line, column int
	doc          *document // nil where there is no text
}

// decoder turns YAML nodes into values and goes on after a fault, so that all
// faults are told at once. Whatever could not be read is in failed and left zero.
type decoder struct {
	doc      *document
	from     map[*yaml.Node]*document // of what is of another document than doc
	partial  bool                     // what is missing is no fault
	problems Problems
	at       map[string]position // of each value, by path
	failed   map[string]bool     // paths
	visits   int
	open     map[*yaml.Node]bool // merge keys being followed
}

func newDecoder(doc document) *decoder {
	d := &decoder{doc: &doc, from: map[*yaml.Node]*document{}, at: map[string]position{}}
	d.failed, d.open = map[string]bool{}, map[*yaml.Node]bool{}
	return d
}

func (d *decoder) position(n *yaml.Node) position {
	if doc := d.from[n]; doc != nil {
		return position{n.Line, n.Column, doc}
	}
	return position{n.Line, n.Column, d.doc}
}

// fail reports an error at n.
func (d *decoder) fail(n *yaml.Node, at place, fault, fix string) {
	d.failed[at.path] = true
	d.report(d.position(n), SeverityError, at.path, fault, fix)
}

// report adds a problem, until there are so many that nobody reads them.
func (d *decoder) report(p position, s Severity, path, fault, fix string) {
	switch {
	case len(d.problems) > maxProblems:
		return
	case len(d.problems) == maxProblems:
		path, fault, fix = "", fmt.Sprintf("more than %d faults; the rest is not shown", maxProblems), "mend these first"
	}
	file := d.doc.file
	if p.doc != nil {
		file = p.doc.file
	}
	d.problems = append(d.problems, Problem{
		File: file, Line: p.line, Column: p.column, Path: path, Severity: s, Fault: fault, Fix: fix,
	})
}

// value decodes n into v.
func (d *decoder) value(n *yaml.Node, v reflect.Value, at place) {
	if n.Kind == yaml.AliasNode {
		d.value(n.Alias, v, at) // types end, so that an anchor in itself ends too
		return
	}
	d.at[at.path] = d.position(n)
	if !d.spend(n, at) {
		return
	}
	if n.Kind == yaml.ScalarNode && n.ShortTag() == tagNull {
		fix := at.rule.advice(at.key, "give it a value or delete the line")
		if at.rule.required != "" {
			fix = at.rule.required
		}
		d.fail(n, at, "has no value", fix)
		return
	}
	if v.CanAddr() {
		if into, ok := v.Addr().Interface().(nodeDecoder); ok {
			into.decodeNode(d, n, at)
			return
		}
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), at)
	case reflect.Struct:
		d.mapping(n, v, at)
	case reflect.Slice:
		d.sequence(n, v, at)
	case reflect.Map:
		d.table(n, v, at)
	default:
		d.scalar(n, v, at)
	}
}

// spend counts the values that are read, aliases followed, and says once when they
// are too many.
func (d *decoder) spend(n *yaml.Node, at place) bool {
	if d.visits++; d.visits <= maxVisits {
		return true
	}
	if d.visits == maxVisits+1 {
		d.fail(n, at, "the aliases before this make the document too large", "write out less with anchors and aliases")
	}
	d.failed[at.path] = true
	return false
}

// sequence decodes a list. A faulty element is left zero, so that the indexes of
// the others stay what they are in the text.
func (d *decoder) sequence(n *yaml.Node, v reflect.Value, at place) {
	if n.Kind != yaml.SequenceNode || n.ShortTag() != tagSeq {
		d.wrongType(n, at, "a list")
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		d.value(item, list.Index(i), place{path: indexPath(at.path, i), rule: at.rule.element(i)})
	}
	if list.Len() == 0 && v.Type() != reflect.TypeFor[List]() && v.Type() != reflect.TypeFor[[]WorkerSpec]() {
		return // an empty list is the same as none, so that both are encoded alike
	}
	v.Set(list)
}

// table decodes a map from text to text.
func (d *decoder) table(n *yaml.Node, v reflect.Value, at place) {
	pairs, ok := d.pairs(n, at)
	if !ok {
		return
	}
	out := reflect.MakeMap(v.Type())
	for _, p := range pairs {
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(p.value, item, place{path: keyPath(at.path, p.key.Value), key: p.key.Value, rule: at.rule.element(-1)})
		out.SetMapIndex(reflect.ValueOf(p.key.Value), item)
	}
	if out.Len() > 0 {
		v.Set(out)
	}
}

// mapping decodes a struct by its yaml tags.
func (d *decoder) mapping(n *yaml.Node, v reflect.Value, at place) {
	pairs, ok := d.pairs(n, at)
	if !ok {
		return
	}
	fields := fieldsOf(v.Type())
	for _, p := range pairs {
		key := p.key.Value
		f, known := fields[key]
		if !known {
			d.at[keyPath(at.path, key)] = d.position(p.key)
			fault, fix, meant := unknownKey(v.Type(), key)
			d.fail(p.key, place{path: keyPath(at.path, key)}, fault, fix)
			if meant != "" { // so that it is not missing as well
				d.failed[keyPath(at.path, meant)] = true
			}
			continue
		}
		d.value(p.value, v.Field(f), place{path: keyPath(at.path, key), key: key, rule: ruleOf(v.Type(), key)})
	}
}

// wrongType reports that n is not what a field holds, and how to write it.
func (d *decoder) wrongType(n *yaml.Node, at place, want string) {
	fix := at.rule.advice(at.key, "write "+want)
	if simple := scalarText.MatchString(n.Value); want == "a list" && n.Kind == yaml.ScalarNode && simple && at.key != "" {
		fix = fmt.Sprintf("write `%s: [%s]`", at.key, n.Value)
	}
	d.fail(n, at, "is "+kindOf(n)+", not "+want, fix)
}

// kindOf names the type of n for people.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch tag := n.ShortTag(); tag {
	case tagInt, tagFloat:
		return "a number"
	case tagBool:
		return "true or false"
	case tagTime:
		return "a date"
	case tagStr:
		return "a text"
	case tagNull:
		return "nothing"
	case tagMerge:
		return "a merge"
	default:
		return "of the type " + quote(tag)
	}
}

// fieldsOf maps the yaml keys of a struct to the indexes of its fields.
func fieldsOf(t reflect.Type) map[string]int {
	fields := map[string]int{}
	for i := range t.NumField() {
		if key, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ","); key != "" && key != "-" {
			fields[key] = i
		}
	}
	return fields
}

// decodeValue decodes a single value, outside a document.
func decodeValue(n *yaml.Node, into nodeDecoder) error {
	d := newDecoder(document{})
	d.value(n, reflect.ValueOf(into).Elem(), place{})
	return d.problems.Err()
}
