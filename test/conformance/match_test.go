package conformance

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strings"
)

// names are the values that a row has taken so far.
type names map[string]string

var nameRE = regexp.MustCompile(`\$[a-z][a-z0-9]*`)

// fill puts known values where their names stand; other words with a $, as the
// operators of tags, stay.
func (n names) fill(text string) string {
	return nameRE.ReplaceAllStringFunc(text, func(name string) string {
		if v, ok := n[name]; ok {
			return v
		}
		return name
	})
}

// match tells how got is not what want says, or "".
func (n names) match(at string, want, got any) string {
	switch w := want.(type) {
	case map[string]any:
		return n.matchObject(at, w, got)
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return fmt.Sprintf("%s: got %s, want a list of %d", at, show(got), len(w))
		}
		for i := range w {
			if bad := n.match(fmt.Sprintf("%s[%d]", at, i), w[i], g[i]); bad != "" {
				return bad
			}
		}
		return ""
	case string:
		return n.matchText(at, w, got)
	case float64:
		if g, ok := got.(float64); ok && math.Abs(g-w) <= 1e-9*math.Max(1, math.Abs(w)) {
			return ""
		}
	default:
		if reflect.DeepEqual(want, got) {
			return ""
		}
	}
	return fmt.Sprintf("%s: got %s, want %s", at, show(got), show(want))
}

func (n names) matchObject(at string, want map[string]any, got any) string {
	if size, ok := want["$len"].(float64); ok {
		if v := reflect.ValueOf(got); got == nil || v.Kind() != reflect.Slice && v.Kind() != reflect.Map || v.Len() != int(size) {
			return fmt.Sprintf("%s: got %s, want %v of it", at, show(got), size)
		}
		return ""
	}
	if one, ok := want["$has"]; ok {
		list, _ := got.([]any)
		for _, g := range list {
			if n.match(at, one, g) == "" {
				return ""
			}
		}
		return fmt.Sprintf("%s: %s has no %s", at, show(got), show(one))
	}
	g, ok := got.(map[string]any)
	if !ok {
		return fmt.Sprintf("%s: got %s, want an object", at, show(got))
	}
	for key, w := range want {
		key = n.fill(key)
		v, there := g[key]
		switch {
		case w == "$none" && (!there || v == nil):
		case w == "$none":
			return fmt.Sprintf("%s.%s: got %s, want nothing", at, key, show(v))
		case !there:
			return fmt.Sprintf("%s.%s is not there: %s", at, key, show(got))
		default:
			if bad := n.match(at+"."+key, w, v); bad != "" {
				return bad
			}
		}
	}
	return ""
}

func (n names) matchText(at, want string, got any) string {
	if want == "$any" {
		return ""
	}
	g, isText := got.(string)
	if name := nameRE.FindString(want); name != "" && name == want && n[name] == "" {
		if !isText || g == "" {
			return fmt.Sprintf("%s: got %s, want a text", at, show(got))
		}
		n[name] = g
		return ""
	}
	want = n.fill(want)
	if pattern, ok := strings.CutPrefix(want, "~"); ok {
		if isText && regexp.MustCompile(pattern).MatchString(g) {
			return ""
		}
	} else if isText && g == want {
		return ""
	}
	return fmt.Sprintf("%s: got %s, want %q", at, show(got), want)
}

func show(v any) string {
	data, _ := json.Marshal(v) // it was JSON
	if len(data) > 600 {
		data = append(data[:600], "…"...)
	}
	return string(data)
}
