package migrate

import (
	"slices"
	"strings"
)

// tree is a document while it is made. Fields of the one group of workers have paths
// as spec.workers[].gpus.
type tree map[string]any

func (t tree) set(path string, value any) {
	parts := strings.Split(path, ".")
	at := map[string]any(t)
	for _, part := range parts[:len(parts)-1] {
		at = below(at, part)
	}
	at[parts[len(parts)-1]] = value
}

// below is what a part of a path leads to; it is made if it is not there.
func below(at map[string]any, part string) map[string]any {
	name, _, group := strings.Cut(part, "[")
	if group {
		list, _ := at[name].([]any)
		if len(list) > 0 {
			if first, ok := list[0].(map[string]any); ok {
				return first
			}
		}
		first := map[string]any{}
		at[name] = []any{first}
		return first
	}
	next, ok := at[name].(map[string]any)
	if !ok {
		next = map[string]any{}
		at[name] = next
	}
	return next
}

func (t tree) get(path string) any {
	var at any = map[string]any(t)
	for part := range strings.SplitSeq(path, ".") {
		name, _, group := strings.Cut(part, "[")
		m, _ := at.(map[string]any)
		if at = m[name]; group {
			list, _ := at.([]any)
			if len(list) == 0 {
				return nil
			}
			at = list[0]
		}
	}
	return at
}

// add appends what is not there yet to a list.
func (t tree) add(path string, values ...string) {
	list, _ := t.get(path).([]any)
	for _, v := range values {
		if !slices.Contains(list, any(v)) {
			list = append(slices.Clip(list), any(v))
		}
	}
	if len(list) > 0 {
		t.set(path, list)
	}
}

// push appends to a list.
func (t tree) push(path string, value any) {
	list, _ := t.get(path).([]any)
	t.set(path, append(slices.Clip(list), value))
}

// put sets a name of a map.
func (t tree) put(path, name string, value any) {
	m, _ := t.get(path).(map[string]any)
	if m == nil {
		m = map[string]any{}
	}
	m[name] = value
	t.set(path, m)
}

func clone(v any) any {
	switch x := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(x))
		for k, e := range x {
			out[k] = clone(e)
		}
		return out
	case []any:
		out := make([]any, len(x))
		for i, e := range x {
			out[i] = clone(e)
		}
		return out
	}
	return v
}
