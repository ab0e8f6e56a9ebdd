package migrate

import (
	"reflect"
	"strings"

	"agentctl/spec"
)

// isField tells whether a path is one of node.yaml, as spec.workers[].id. What is
// below a map is any name.
func isField(path string) bool {
	at := reflect.TypeFor[spec.Node]()
	for part := range strings.SplitSeq(path, ".") {
		name, _, list := strings.Cut(part, "[")
		for at.Kind() == reflect.Pointer {
			at = at.Elem()
		}
		if at.Kind() == reflect.Map {
			return true
		}
		next, ok := fieldOf(at, name)
		if !ok {
			return false
		}
		if at = next; list && at.Kind() == reflect.Slice {
			at = at.Elem()
		}
	}
	return true
}

func fieldOf(t reflect.Type, name string) (reflect.Type, bool) {
	if t.Kind() != reflect.Struct {
		return nil, false
	}
	for i := range t.NumField() {
		if key, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ","); key == name {
			return t.Field(i).Type, true
		}
	}
	return nil, false
}
