package migrate

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/samber/lo"
)

// companions are keys without which one says nothing.
var companions = map[string]map[string]any{
	"api.credentials.access_key": {"api.credentials.secret_key": "SECRET", "api.api_server": "https://api.example.com"},
	"api.credentials.secret_key": {"api.credentials.access_key": "ACCESS", "api.api_server": "https://api.example.com"},
	"agent.git_host":             {"agent.git_user": "u", "agent.git_pass": "p"},
	"agent.git_user":             {"agent.git_pass": "p"},
	"agent.git_use_azure_pat":    {"agent.git_pass": "p"},
	"agent.translate_ssh":        {"agent.git_pass": "p"},
}

// names.txt are the keys and variables that clearml-agent 3.0.3 reads or is packaged with.
func TestNothingIsForgotten(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "names.txt"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, r := range Rows() {
		for _, name := range r.names() {
			known[name] = true
		}
	}
	for name := range strings.FieldsSeq(string(data)) {
		if !known[name] && !section(name) {
			t.Errorf("nothing is said of %s", name)
		}
	}
}

func put(into map[string]any, path string, v any) {
	first, rest, nested := strings.Cut(path, ".")
	if !nested || strings.HasPrefix(path, "=") {
		into[path] = v
		return
	}
	below, ok := into[first].(map[string]any)
	if !ok {
		below = map[string]any{}
		into[first] = below
	}
	put(below, rest, v)
}

func noteOf(notes []Note, name string) (Note, bool) {
	return lo.Find(notes, func(n Note) bool { return n.Name == name })
}

// Each row keeps its word: one that is carried over changes the field that it names,
// any other changes nothing and says why.
func TestEachKeyKeepsItsWord(t *testing.T) {
	for _, r := range Rows() {
		if r.Kind != KindKey {
			continue
		}
		t.Run(r.Name, func(t *testing.T) {
			conf, without := map[string]any{}, map[string]any{}
			for k, v := range companions[r.Name] {
				put(conf, k, v)
				put(without, k, v)
			}
			value := r.example
			if value == nil {
				value = "some value"
			}
			put(conf, r.Name, value)
			keeps(t, r, r.Name, conf, without, nil)
		})
	}
}

func TestEachVariableKeepsItsWord(t *testing.T) {
	for _, r := range Rows() {
		if r.Kind != KindVariable {
			continue
		}
		for _, name := range r.names() {
			t.Run(name, func(t *testing.T) {
				conf := map[string]any{}
				for k, v := range companions[r.Key] {
					put(conf, k, v)
				}
				value, err := textOf(r.example)
				if err != nil {
					value = "some value"
				}
				if list, ok := r.example.([]any); ok {
					value = strings.Join(lo.Map(list, func(e any, _ int) string { s, _ := textOf(e); return s }), " ")
				}
				keeps(t, r, name, conf, conf, []string{name + "=" + value})
			})
		}
	}
}

func keeps(t *testing.T, r Row, name string, conf, without map[string]any, variables []string) {
	t.Helper()
	with, err := Node(conf, variables, Options{})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := Node(without, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	n, ok := noteOf(with.Notes, name)
	if !ok {
		t.Fatalf("there is no note of it in %v", with.Notes)
	}
	if n.Text == "" && r.Verdict != Mapped {
		t.Error("its note says nothing")
	}
	changed := changedPaths(t, plain, with)
	secrets := !slices.EqualFunc(plain.Secrets, with.Secrets, func(a, b Secret) bool { return string(a.Content) == string(b.Content) })
	switch {
	case r.Verdict == Mapped && len(targets(r.Target)) == 0: // it is read elsewhere
		if n.Verdict != Mapped {
			t.Errorf("it is %q (%s)", n.Verdict, n.Text)
		}
	case r.Verdict == Mapped:
		hit := lo.SomeBy(targets(r.Target), func(target string) bool {
			return lo.SomeBy(changed, func(p string) bool { return strings.HasPrefix(p, target) })
		})
		if n.Verdict != Mapped || !hit && !secrets {
			t.Errorf("it is %q (%s), and changes %v, not %s", n.Verdict, n.Text, changed, r.Target)
		}
	default:
		if len(changed) > 0 || secrets || n.Verdict == Mapped {
			t.Errorf("it changes %v", changed)
		}
	}
}
