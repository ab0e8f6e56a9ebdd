package migrate

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
)

// changedPaths are the fields in which two nodes differ.
func changedPaths(t *testing.T, a, b Result) []string {
	t.Helper()
	var out []string
	differ("", asTree(t, a), asTree(t, b), &out)
	slices.Sort(out)
	return out
}

func asTree(t *testing.T, r Result) any {
	t.Helper()
	data, err := json.Marshal(r.Node)
	if err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func differ(path string, a, b any, out *[]string) {
	am, aok := a.(map[string]any)
	bm, bok := b.(map[string]any)
	if !aok && !bok {
		al, alist := a.([]any)
		bl, blist := b.([]any)
		if path == "spec.workers" && alist && blist {
			differ(path+"[]", al[0], bl[0], out)
			return
		}
		if !reflect.DeepEqual(a, b) {
			*out = append(*out, path)
		}
		return
	}
	names := map[string]bool{}
	for k := range am {
		names[k] = true
	}
	for k := range bm {
		names[k] = true
	}
	for k := range names {
		at := k
		if path != "" {
			at = path + "." + k
		}
		differ(at, am[k], bm[k], out)
	}
}
