package spec

import (
	"reflect"
	"slices"
	"strings"

	"github.com/samber/lo"
)

// nearest is the word of the list that s is most likely meant to be, "" if none is
// near: the same but for case, - and _, or few letters away.
func nearest(s string, list []string) string {
	best, distance := "", 4
	if len(s) > shown {
		return ""
	}
	for _, word := range list {
		if plain(word) == plain(s) {
			return word
		}
		if n := levenshtein(strings.ToLower(s), strings.ToLower(word)); n < distance && n <= max(1, len(word)/3) {
			best, distance = word, n
		}
	}
	return best
}

func plain(s string) string {
	return strings.ToLower(strings.NewReplacer("-", "", "_", "", " ", "").Replace(s))
}

// levenshtein counts the letters to insert, delete or change.
func levenshtein(a, b string) int {
	row := lo.Range(len(b) + 1)
	for i := range len(a) {
		left := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := left
			if a[i] != b[j] {
				change++
			}
			left = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// secretKeys are keys that would put a secret into the document.
var secretKeys = []string{"accesskey", "secretkey", "apikey", "token", "password", "passwd", "secret", "credentials", "apiaccesskey", "apisecretkey", "username"}

// unknownKey tells the fault of a key that its mapping doesn't have, and what to
// write instead: a near key, or where in the document the key belongs. meant is the
// key that the text most likely stands for.
func unknownKey(t reflect.Type, key string) (fault, fix, meant string) {
	keys := keysOf(t)
	fault = "unknown key " + quote(key)
	near := nearest(key, keys)
	switch {
	case slices.Contains(secretKeys, plain(key)) && t == reflect.TypeFor[Server]():
		return fault, "secrets are never written here; name a file in credentialsFile", ""
	case slices.Contains(secretKeys, plain(key)) && t == reflect.TypeFor[PackageManager]():
		return fault, "secrets are never written here; name a netrc file in indexCredentialsFile", ""
	case slices.Contains(secretKeys, plain(key)) && t == reflect.TypeFor[Git]():
		return fault, "secrets are never written here; name a netrc file in credentialsFile", ""
	case near != "" && plain(near) == plain(key):
		return fault, "write " + near, near
	}
	if homes := homesOf(key); len(homes) > 0 {
		return fault, key + " belongs to " + oneOf(homes), ""
	}
	if near != "" {
		return fault, "did you mean " + near + "?", near
	}
	return fault, "allowed here: " + strings.Join(keys, ", "), ""
}

// keysOf are the yaml keys of a struct in their order.
func keysOf(t reflect.Type) []string {
	fields := fieldsOf(t)
	keys := lo.Keys(fields)
	slices.SortFunc(keys, func(a, b string) int { return fields[a] - fields[b] })
	return keys
}

// homesOf are the paths of the mappings that have the key, at most three.
func homesOf(key string) []string {
	var homes []string
	eachField(func(path string, t reflect.Type, k string) {
		if parent := strings.TrimSuffix(path, "."+k); k == key && parent != path && len(homes) < 3 {
			homes = append(homes, parent)
		}
	})
	return homes
}

// eachField visits every field of a document, as "spec.workers[].name", with the
// struct that holds it and its key.
func eachField(visit func(path string, holder reflect.Type, key string)) {
	eachFieldOf(reflect.TypeFor[Node](), visit)
}

func eachFieldOf(root reflect.Type, visit func(path string, holder reflect.Type, key string)) {
	var walk func(path string, t reflect.Type)
	walk = func(path string, t reflect.Type) {
		for i := range t.NumField() {
			key, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
			if key == "" || key == "-" {
				continue
			}
			at := keyPath(path, key)
			visit(at, t, key)
			ft := t.Field(i).Type
			if ft.Kind() == reflect.Pointer {
				ft = ft.Elem()
			}
			switch {
			case ft == reflect.TypeFor[Slots]():
				walk(at+"[]", reflect.TypeFor[Slot]())
			case ft == reflect.TypeFor[GPURequest]():
			case ft.Kind() == reflect.Slice && ft.Elem().Kind() == reflect.Struct:
				walk(at+"[]", ft.Elem())
			case ft.Kind() == reflect.Struct:
				walk(at, ft)
			}
		}
	}
	walk("", root)
}
