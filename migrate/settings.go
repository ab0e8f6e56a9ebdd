package migrate

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// settings are all values of a configuration for which there is a row, and what is in none.
func settings(conf map[string]value) []setting {
	var out []setting
	for _, path := range slices.Sorted(maps.Keys(conf)) {
		v := conf[path]
		row, ok := byKey()[path]
		if !ok {
			row = -1
		}
		out = append(out, setting{cmp.Or(v.from, path), row, v.value})
	}
	return out
}

// value is one of a configuration that a row stands for.
type value struct {
	value any
	from  string // the variable that it comes from
}

// flatten parts a configuration into what rows stand for.
func flatten(path string, v any, into map[string]value) {
	row, ok := byKey()[path]
	m, inner := v.(map[string]any)
	if ok && (!inner || Rows()[row].apply != nil || Rows()[row].deep) || !inner && path != "" {
		into[path] = value{v, ""}
		for key := range byKey() { // those of the section that have a row of their own
			if rest, ok := strings.CutPrefix(key, path+"."); ok {
				if own := tree(m).get(rest); own != nil {
					into[key] = value{own, ""}
				}
			}
		}
		return
	}
	for name, below := range m {
		name = strings.Trim(name, `"`)
		if path != "" {
			name = path + "." + name
		}
		flatten(name, below, into)
	}
	if inner && len(m) == 0 && path != "" && !section(path) {
		into[path] = value{v, ""}
	}
}

// section tells whether rows are below a path.
func section(path string) bool {
	for name := range byKey() {
		if strings.HasPrefix(name, path+".") {
			return true
		}
	}
	return false
}
