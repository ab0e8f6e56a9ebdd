package spec

import (
	"encoding/json"
	"flag"
	"os"
	"reflect"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"
	"github.com/samber/lo"
)

var update = flag.Bool("update", false, "rewrite the golden and the generated files")

// TestSchema keeps spec/node.schema.json what types.go and rules.go say.
func TestSchema(t *testing.T) {
	golden(t, "node.schema.json", generateSchema(t))
}

// golden compares a generated file with the one checked in, or rewrites it.
func golden(t *testing.T, file string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s is not current; run `go test ./spec -update` (-want +there):\n%s", file, diff)
	}
}

func generateSchema(t *testing.T) []byte {
	t.Helper()
	r := jsonschema.Reflector{FieldNameTag: "yaml", Anonymous: true, ExpandedStruct: true, Mapper: unionSchema}
	if err := r.AddGoComments("agentctl/spec", ".", jsonschema.WithFullComment()); err != nil {
		t.Fatal(err)
	}
	root := r.Reflect(Node{})
	root.Title = "node.yaml of agentctl"
	slot := r.Reflect(Slot{})
	slot.Version = ""
	root.Definitions["Slot"] = slot
	applyRules(t, "Node", root)
	for name, s := range root.Definitions {
		applyRules(t, name, s)
	}
	defaults := defaultsByPath()
	eachField(func(path string, holder reflect.Type, key string) {
		if value, ok := defaults[path]; ok && holder != reflect.TypeFor[PackageManager]() && holder != reflect.TypeFor[Python]() {
			schemaOf(root, holder.Name(), key).Default = value
		}
	})
	data, err := json.MarshalIndent(eitherKind(t, &r, root), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(data, '\n')
}

// eitherKind makes the schema of both kinds out of that of Node. Of the spec of a patch
// it knows the first keys alone, since any field may be null there or missing.
func eitherKind(t *testing.T, r *jsonschema.Reflector, node *jsonschema.Schema) *jsonschema.Schema {
	t.Helper()
	patch := r.Reflect(NodePatch{})
	applyRules(t, "NodePatch", patch)
	root := &jsonschema.Schema{
		Version: node.Version, Definitions: node.Definitions, Title: node.Title, Description: node.Description,
		If: &jsonschema.Schema{
			Properties: jsonschema.NewProperties(), Required: []string{"kind"},
		},
		Then: &jsonschema.Schema{Ref: "#/$defs/NodePatch"}, Else: &jsonschema.Schema{Ref: "#/$defs/Node"},
	}
	root.If.Properties.Set("kind", &jsonschema.Schema{Const: KindNodePatch})
	for name, s := range patch.Definitions {
		if _, there := root.Definitions[name]; !there {
			applyRules(t, name, s)
			root.Definitions[name] = s
		}
	}
	for name, s := range map[string]*jsonschema.Schema{"Node": node, "NodePatch": patch} {
		part := *s
		part.Version, part.Definitions, part.Title = "", nil, ""
		root.Definitions[name] = &part
	}
	return root
}

func schemaOf(root *jsonschema.Schema, holder, key string) *jsonschema.Schema {
	if holder != "Node" {
		root = root.Definitions[holder]
	}
	return lo.Must(root.Properties.Get(key))
}

// unionSchema maps the types that are written in more ways than one.
func unionSchema(t reflect.Type) *jsonschema.Schema {
	text := func(pattern string) *jsonschema.Schema { return &jsonschema.Schema{Type: "string", Pattern: pattern} }
	words := func(list ...any) *jsonschema.Schema { return &jsonschema.Schema{Enum: list} }
	switch t {
	case reflect.TypeFor[List]():
		return &jsonschema.Schema{Type: "array", Items: &jsonschema.Schema{Type: "string"}}
	case reflect.TypeFor[Duration]():
		return text(durationForm.String())
	case reflect.TypeFor[Size]():
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{text(sizeForm.String()), {Type: "integer", Minimum: "0"}}}
	case reflect.TypeFor[GPURequest]():
		one := uint64(1)
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
			words(GPUsNone, GPUsAll),
			{Type: "integer", Minimum: "0", Maximum: json.Number(strconv.Itoa(maxGPUs))},
			{Type: "number", Minimum: "0.01", Maximum: "0.99"},
			{Type: "array", Items: deviceSchema(), MinItems: &one, UniqueItems: true},
		}}
	case reflect.TypeFor[Partial]():
		part := &jsonschema.Schema{Type: "object", Properties: jsonschema.NewProperties(), AdditionalProperties: jsonschema.FalseSchema}
		for _, key := range keysOf(reflect.TypeFor[NodeSpec]()) {
			part.Properties.Set(key, jsonschema.TrueSchema)
		}
		return part
	case reflect.TypeFor[Slots]():
		one := uint64(1)
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
			words(SlotsAuto, SlotsNone),
			{Type: "array", Items: &jsonschema.Schema{Ref: "#/$defs/Slot"}, MinItems: &one},
		}}
	}
	return nil
}

func deviceSchema() *jsonschema.Schema {
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
		{Type: "integer", Minimum: "0", Maximum: "999"},
		{Type: "string", Pattern: deviceForm.String()},
	}}
}

func applyRules(t *testing.T, holder string, s *jsonschema.Schema) {
	for p := s.Properties.Oldest(); p != nil; p = p.Next() {
		r, ok := rules[holder+"."+p.Key]
		if !ok {
			t.Errorf("no rule for %s.%s", holder, p.Key)
		}
		if r.bare {
			device := deviceSchema()
			p.Value.Type, p.Value.AnyOf = "", device.AnyOf
			continue
		}
		applyRule(p.Value, r)
	}
}

func applyRule(s *jsonschema.Schema, r rule) {
	if r.bare && s.Type == "string" { // an element that may be a number too
		text := *s
		r.bare = false
		applyRule(&text, r)
		s.Type, s.AnyOf = "", []*jsonschema.Schema{{Type: "integer", Minimum: "0"}, &text}
		return
	}
	s.Enum = append(s.Enum, lo.ToAnySlice(r.enum)...)
	s.UniqueItems = s.UniqueItems || r.unique
	if r.form != nil {
		s.Pattern = r.form.String()
	}
	if r.sketch != "" {
		s.Pattern = r.sketch
	}
	if r.max > 0 {
		s.Minimum, s.Maximum = number(r.min), number(r.max)
	}
	if one := uint64(1); s.Type == "string" && r.form == nil && len(r.enum) == 0 && !r.mayBeEmpty && s.Pattern == "" {
		s.MinLength = &one
	}
	if s.Items != nil && s.Items.Ref == "" {
		applyList(s, r)
	}
	if s.AdditionalProperties != nil && s.Type == "object" {
		applyRule(s.AdditionalProperties, r.element(-1))
		if r.keys != nil {
			s.PropertyNames = &jsonschema.Schema{}
			applyRule(s.PropertyNames, *r.keys)
		}
	}
}

// applyList: what an editor knows of the first element stands in prefixItems, which
// the others, in items, leave out.
func applyList(s *jsonschema.Schema, r rule) {
	if r.first != nil {
		first := *s.Items
		applyRule(&first, *r.first)
		s.PrefixItems = []*jsonschema.Schema{&first}
	}
	applyRule(s.Items, r.element(-1))
	if one := uint64(1); r.required != "" {
		s.MinItems = &one
	}
	if most := uint64(r.most); most > 0 {
		s.MaxItems = &most
	}
}

func number(x float64) json.Number { return json.Number(plainNumber(x)) }

// defaultsByPath are the defaults as a document has them, read off an almost empty
// one that was given its defaults.
func defaultsByPath() map[string]any {
	n := (&Node{Spec: NodeSpec{Workers: []WorkerSpec{{}}, GPUs: GPUs{Slots: Slots{Mode: SlotsList, List: []Slot{{}}}}}}).Default(Env{})
	out := map[string]any{}
	var walk func(path string, v reflect.Value)
	walk = func(path string, v reflect.Value) {
		fields := fieldsOf(v.Type())
		for _, key := range keysOf(v.Type()) {
			f, at := v.Field(fields[key]), keyPath(path, key)
			switch x := f.Interface().(type) {
			case []WorkerSpec:
				walk(at+"[]", reflect.ValueOf(x[0]))
			case Slots:
				walk(at+"[]", reflect.ValueOf(x.List[0]))
				out[at] = (&Node{}).Default(Env{}).Spec.GPUs.Slots.value()
			case Size, Duration, GPURequest:
				if !f.IsZero() {
					out[at] = written(f)
				}
			default:
				if f.Kind() == reflect.Struct {
					walk(at, f)
				} else if !f.IsZero() {
					out[at] = reflect.Indirect(f).Interface()
				}
			}
		}
	}
	walk("", reflect.ValueOf(*n))
	delete(out, "metadata.name") // the host name
	return out
}

// TestRules keeps the table complete: each field has a rule and an example that is
// accepted, and each rule has a field.
func TestRules(t *testing.T) {
	seen := map[string]bool{}
	check := func(path string, holder reflect.Type, key string) {
		name := holder.Name() + "." + key
		seen[name] = true
		r, ok := rules[name]
		if !ok {
			t.Errorf("no rule for %s", name)
		}
		tag := holder.Field(fieldsOf(holder)[key]).Tag.Get("yaml")
		if optional := tag != key; optional == (r.required != "") {
			t.Errorf("%s: the tag %q and the rule (required: %q) differ", name, tag, r.required)
		}
		if r.required == "" && r.example == "" {
			t.Errorf("%s has no example", name)
		}
		if r.form != nil && r.fix == "" {
			t.Errorf("%s has no fix", name)
		}
	}
	eachField(check)
	eachFieldOf(reflect.TypeFor[NodePatch](), check)
	for name := range rules {
		if !seen[name] {
			t.Errorf("no field for the rule %s", name)
		}
	}
}
