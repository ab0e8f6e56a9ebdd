package reconcile

import (
	"bytes"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"

	"agentctl/spec"
)

const planSchema = "../docs/plan.schema.json"

// TestPlanSchema keeps docs/plan.schema.json, which is what `plan -o json` prints, what
// the types say.
func TestPlanSchema(t *testing.T) {
	r := jsonschema.Reflector{Anonymous: true, Mapper: func(t reflect.Type) *jsonschema.Schema {
		if t == reflect.TypeFor[spec.Worker]() {
			return &jsonschema.Schema{Type: "object", Description: "All settings of the worker, as `get workers -o json` has them under spec."}
		}
		return nil
	}}
	for path, dir := range map[string]string{"agentctl/reconcile": ".", "agentctl/spec": "../spec"} {
		if err := r.AddGoComments(path, dir, jsonschema.WithFullComment()); err != nil {
			t.Fatal(err)
		}
	}
	root := r.Reflect(Preview{})
	root.Title = "plan of agentctl"
	want, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile(planSchema, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(planSchema)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s is not current; run just golden: %v\n%s", planSchema, err, cmp.Diff(string(want), string(got)))
	}
}

// Each key of a plan that has all its fields is in the schema.
func TestPlanSchemaKnowsAllKeys(t *testing.T) {
	schema, err := os.ReadFile(planSchema)
	if err != nil {
		t.Fatal(err)
	}
	a := Action{
		Verb: Wait, Worker: "w/0", Spec: &spec.Worker{}, Changes: []spec.Change{{Path: "p", Old: "1", New: "2", Class: spec.ClassLive}},
		Reason: "r", Slots: []string{"0"}, Task: "t", Since: noon, Until: noon, Force: true, Stalled: true,
	}
	p := Preview{
		Plan:    Plan{Actions: []Action{a}, Slots: []SlotMove{{Slot: "0", From: "a", To: "b", Task: "t"}}, Wake: noon},
		Changes: a.Changes, Base: "b", Digest: "d",
	}
	data, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var missing []string
	for _, key := range keysOf(t, data) {
		if !strings.Contains(string(schema), `"`+key+`": {`) && !strings.Contains(string(schema), `"`+key+`": true`) {
			missing = append(missing, key)
		}
	}
	if len(missing) > 0 {
		t.Errorf("the schema does not have %q", missing)
	}
}

// keysOf are the keys in a JSON text, but for those of a worker's settings.
func keysOf(t *testing.T, data []byte) []string {
	t.Helper()
	var out []string
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, value := range v {
				if out = append(out, key); key != "spec" {
					walk(value)
				}
			}
		case []any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	walk(v)
	slices.Sort(out)
	return slices.Compact(out)
}
