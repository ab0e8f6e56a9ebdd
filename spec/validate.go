package spec

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/samber/lo"
)

// Validate tells the faults of n that no type can express. It is part of Decode,
// which adds the positions; here there are none.
func Validate(n *Node) Problems {
	d := newDecoder(document{})
	d.validate(n)
	return d.problems.sorted()
}

// validate adds the faults of a decoded node. Where decoding failed it is silent:
// what stands there is not what was written.
func (d *decoder) validate(n *Node) {
	d.fields(reflect.ValueOf(n).Elem(), "")
	d.validMatch(n.Match)
	d.workers(n.Spec.Workers, n.Metadata.Name)
	d.queues(n)
	d.sandbox(&n.Spec.Sandbox)
	if n.Spec.Server.CredentialsFile != "" && n.Spec.Server.URL == "" && !d.failed["spec.server.url"] {
		d.semantic("spec.server.credentialsFile", SeverityWarning,
			"has no effect without spec.server.url", "delete it; the embedded server makes its own credentials")
	}
}

// semantic reports a fault of what stands at path, or of what lacks there.
func (d *decoder) semantic(path string, s Severity, fault, fix string) {
	d.report(d.nearest(path), s, path, fault, fix)
}

// nearest is the position of path, or of what holds it.
func (d *decoder) nearest(path string) position {
	for path != "" {
		if p, ok := d.at[path]; ok {
			return p
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
	return d.at[""]
}

// fields checks each field of a struct by its rule.
func (d *decoder) fields(v reflect.Value, path string) {
	for i := range v.NumField() {
		key, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		if key == "" || key == "-" {
			continue
		}
		d.field(v.Field(i), keyPath(path, key), ruleOf(v.Type(), key))
	}
}

func (d *decoder) field(v reflect.Value, path string, r rule) {
	if d.failed[path] {
		return
	}
	_, written := d.at[path]
	if v.IsZero() && !written {
		if r.required != "" && !d.partial {
			d.semantic(path, SeverityError, "is missing", r.required)
		}
		return
	}
	d.content(reflect.Indirect(v), path, r)
}

// content checks a value that is there.
func (d *decoder) content(v reflect.Value, path string, r rule) {
	if d.failed[path] {
		return
	}
	switch x := v.Interface().(type) {
	case GPURequest:
		d.request(x, path)
		return
	case Slots:
		d.slots(x, path)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.fields(v, path)
	case reflect.Slice:
		d.list(v, path, r)
	case reflect.Map:
		d.labels(v, path, r)
	case reflect.String:
		d.word(v.String(), path, r)
	case reflect.Int:
		d.amount(float64(v.Int()), path, r)
	case reflect.Float64:
		d.amount(v.Float(), path, r)
	default:
		d.checked(v.Interface(), path, r)
	}
}

func (d *decoder) list(v reflect.Value, path string, r rule) {
	if v.Len() == 0 && r.required != "" && v.Type() != reflect.TypeFor[[]WorkerSpec]() {
		d.semantic(path, SeverityError, "is empty", r.required)
	}
	if r.most > 0 && v.Len() > r.most {
		d.semantic(path, SeverityError, fmt.Sprintf("has %d elements", v.Len()), fmt.Sprintf("write at most %d", r.most))
		return
	}
	seen := map[any]int{}
	for i := range v.Len() {
		at := indexPath(path, i)
		d.content(v.Index(i), at, r.element(i))
		if !r.unique || d.failed[at] {
			continue
		}
		if first, twice := seen[v.Index(i).Interface()]; twice {
			d.semantic(at, SeverityError, fmt.Sprintf("is the same as %s[%d]", path, first), "delete one of them")
			continue
		}
		seen[v.Index(i).Interface()] = i
	}
}

func (d *decoder) labels(v reflect.Value, path string, r rule) {
	keys := lo.Map(v.MapKeys(), func(k reflect.Value, _ int) string { return k.String() })
	slices.Sort(keys)
	for _, key := range keys {
		at := keyPath(path, key)
		if r.keys != nil {
			d.word(key, at, *r.keys)
		}
		d.content(v.MapIndex(reflect.ValueOf(key)), at, r.element(-1))
	}
}

func (d *decoder) word(s, path string, r rule) {
	switch {
	case slices.Contains(r.later, s):
		key := path[strings.LastIndexByte(path, '.')+1:]
		d.semantic(path, SeverityError, key+" "+s+" comes with a later release", "write "+key+": "+oneOf(r.enum))
	case len(r.enum) > 0 && !slices.Contains(r.enum, s):
		fix := "write " + oneOf(r.enum)
		if near := nearest(s, r.enum); near != "" && len(r.enum) > 1 {
			fix = fmt.Sprintf("did you mean %s? allowed: %s", near, oneOf(r.enum))
		}
		d.semantic(path, SeverityError, quote(s)+" is not known", fix)
	case r.form != nil && !r.form.MatchString(s):
		d.semantic(path, SeverityError, quote(s)+" is not allowed here", r.fix)
	default:
		d.checked(s, path, r)
	}
}

func (d *decoder) amount(x float64, path string, r rule) {
	if r.max > 0 && (x < r.min || x > r.max) {
		d.semantic(path, SeverityError, plainNumber(x)+" is out of range", "write "+plainNumber(r.min)+" to "+plainNumber(r.max))
	}
}

// plainNumber renders x without an exponent.
func plainNumber(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

// checked applies a check, which may bring its own fix.
func (d *decoder) checked(v any, path string, r rule) {
	if r.check == nil {
		return
	}
	if fault := r.check(v); fault != "" {
		fault, fix, own := strings.Cut(fault, splitFix)
		if !own {
			fix = r.fix
		}
		d.semantic(path, SeverityError, fault, fix)
	}
}
