package spec

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
	"pgregory.net/rapid"
)

// TestMarshalYAML: whatever a server sends as the name of a task can be printed, and
// means the same as in JSON.
func TestMarshalYAML(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), queues, rapid.SampledFrom([]string{"a\nb\n", " x\n\ty", "\x7f", "\u0085", "\u2028", "\ufeff", "\x00", "true", "- a"}))
		type row struct {
			Name string            `json:"name"`
			Tags []string          `json:"tags,omitempty"`
			Map  map[string]string `json:"map,omitempty"`
			N    int64             `json:"n"`
			X    float64           `json:"x"`
			OK   *bool             `json:"ok"`
		}
		in := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) row {
			return row{
				Name: text.Draw(t, "name"), Tags: rapid.SliceOfN(text, 0, 3).Draw(t, "tags"), Map: rapid.MapOfN(text, text, 0, 3).Draw(t, "map"),
				N: rapid.Int64().Draw(t, "n"), X: rapid.Float64Range(-1e6, 1e6).Draw(t, "x"), OK: pointer(t, "ok", rapid.Bool()),
			}
		}), 1, 3).Draw(t, "rows")
		data, err := MarshalYAML(in)
		if err != nil {
			t.Fatal(err)
		}
		var generic any
		if err := yaml.Unmarshal(data, &generic); err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
		back, err := json.Marshal(generic)
		if err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
		want, _ := json.Marshal(in)
		if diff := cmp.Diff(normal(t, want), normal(t, back)); diff != "" {
			t.Fatalf("(-json +yaml)\n%s\n%s", diff, data)
		}
	})
}

func normal(t *rapid.T, data []byte) (v any) {
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	return v
}

func TestMarshalYAMLOrder(t *testing.T) {
	got, err := MarshalYAML(struct {
		B []any          `json:"b"`
		A map[string]any `json:"a"`
	}{[]any{1, "yes", nil, 1.5}, map[string]any{"y": []any{}, "x": map[string]any{"<<": "<<"}}})
	if err != nil {
		t.Fatal(err)
	}
	want := "b: [1, \"yes\", null, 1.5]\na:\n  x:\n    \"<<\": \"<<\"\n  \"y\": []\n"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
