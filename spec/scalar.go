package spec

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"

	"gopkg.in/yaml.v3"
)

var (
	// scalarText is what may be repeated in an advice: short and harmless.
	scalarText = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$`)
	// YAML also knows 010 (eight), 0x10, 1_000 and 1:30; nobody means them here.
	wholeForm   = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,17})$`)
	decimalForm = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?$`)
)

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, at place) {
	switch v.Kind() {
	case reflect.String:
		if s, ok := d.text(n, at); ok {
			v.SetString(s)
		}
	case reflect.Bool:
		if n.Kind != yaml.ScalarNode || n.ShortTag() != tagBool {
			d.fail(n, at, "is "+kindOf(n)+", not true or false", "write true or false")
			return
		}
		v.SetBool(n.Value == "true" || n.Value == "True" || n.Value == "TRUE")
	case reflect.Int:
		if i, ok := d.whole(n, at); ok {
			v.SetInt(i)
		}
	case reflect.Float64:
		if f, ok := d.decimal(n, at); ok {
			v.SetFloat(f)
		}
	default:
		panic(fmt.Sprintf("spec: a field of node.yaml has the type %s, which nobody reads", v.Type()))
	}
}

// text reads a text. A number is an error, since 3.10 is not "3.10" any more once
// it was a number.
func (d *decoder) text(n *yaml.Node, at place) (string, bool) {
	if n.Kind == yaml.ScalarNode && (n.ShortTag() == tagStr || at.rule.bare && n.ShortTag() == tagInt && wholeForm.MatchString(n.Value)) {
		if n.Value == "" && !at.rule.mayBeEmpty {
			d.fail(n, at, "is empty", at.rule.advice(at.key, "give it a value or delete the line"))
			return "", false
		}
		return n.Value, true
	}
	if n.Kind == yaml.ScalarNode && scalarText.MatchString(n.Value) {
		d.fail(n, at, "is "+kindOf(n)+", not a text", fmt.Sprintf("write %q, in quotes", n.Value))
		return "", false
	}
	d.fail(n, at, "is "+kindOf(n)+", not a text", at.rule.advice(at.key, "write a text"))
	return "", false
}

func (d *decoder) whole(n *yaml.Node, at place) (int64, bool) {
	const want = "a whole number"
	if n.Kind != yaml.ScalarNode || n.ShortTag() != tagInt {
		d.number(n, at, want, wholeForm)
		return 0, false
	}
	i, err := strconv.ParseInt(n.Value, 10, 64)
	if err != nil || !wholeForm.MatchString(n.Value) {
		d.fail(n, at, "is not a plain whole number", at.rule.advice(at.key, "write digits only, as 12"))
		return 0, false
	}
	return i, true
}

func (d *decoder) decimal(n *yaml.Node, at place) (float64, bool) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != tagInt && n.ShortTag() != tagFloat {
		d.number(n, at, "a number", decimalForm)
		return 0, false
	}
	f, err := strconv.ParseFloat(n.Value, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) || !decimalForm.MatchString(n.Value) {
		d.fail(n, at, "is not a plain number", at.rule.advice(at.key, "write digits and at most one point, as 1.5"))
		return 0, false
	}
	return f, true
}

// number reports that n is no number; a quoted number needs no more than its quotes off.
func (d *decoder) number(n *yaml.Node, at place, want string, form *regexp.Regexp) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == tagStr && form.MatchString(n.Value) {
		d.fail(n, at, "is a text, not "+want, fmt.Sprintf("write %s, without quotes", n.Value))
		return
	}
	fault := "is " + kindOf(n) + ", not " + want
	if n.Kind == yaml.ScalarNode && n.ShortTag() == tagFloat {
		fault = "is not " + want
	}
	d.fail(n, at, fault, at.rule.advice(at.key, "write "+want))
}

func (d *Duration) decodeNode(dec *decoder, n *yaml.Node, at place) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == tagInt && wholeForm.MatchString(n.Value) {
		dec.fail(n, at, "is a number without a unit", fmt.Sprintf("write %ss for seconds, or another of ms, m, h, d", n.Value))
		return
	}
	if n.Kind != yaml.ScalarNode || n.ShortTag() != tagStr {
		dec.fail(n, at, "is "+kindOf(n)+", not a length of time", durationFix)
		return
	}
	parsed, err := ParseDuration(n.Value)
	if err != nil {
		dec.fail(n, at, quote(n.Value)+" "+err.Error(), durationFix)
		return
	}
	*d = parsed
}

func (s *Size) decodeNode(d *decoder, n *yaml.Node, at place) {
	if n.Kind != yaml.ScalarNode || n.ShortTag() != tagStr && n.ShortTag() != tagInt {
		d.fail(n, at, "is "+kindOf(n)+", not a size", sizeFix)
		return
	}
	parsed, err := ParseSize(n.Value)
	if err != nil {
		d.fail(n, at, quote(n.Value)+" "+err.Error(), nearSize(n.Value))
		return
	}
	*s = parsed
}

var almostSize = regexp.MustCompile(`^([0-9]{1,9}) ?([kKmMgGtT])([iI]?)[bB]?$`)

// nearSize is the advice for 16GB, 16g and 16 Gi.
func nearSize(s string) string {
	m := almostSize.FindStringSubmatch(s)
	if m == nil {
		return sizeFix
	}
	unit := map[string]string{"k": "K", "m": "M", "g": "G", "t": "T"}[string(m[2][0]|0x20)]
	if m[3] != "" {
		return fmt.Sprintf("write %s%si", m[1], unit)
	}
	return fmt.Sprintf("write %s%si (of 1024) or %s%s (of 1000)", m[1], unit, m[1], unit)
}
