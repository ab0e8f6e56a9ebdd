package migrate

import (
	"encoding/json"
	"slices"
	"strings"

	"agentctl/spec"

	"github.com/samber/lo"
)

// keyPrefix begins variables that stand for any key, as CLEARML_AGENT__AGENT__VENVS_CACHE__MAX_ENTRIES.
const keyPrefix = "CLEARML_AGENT__"

// LayerName is the name of the patch that variables make.
const LayerName = "environment"

// Layer is what the variables of an agent's own environment change.
type Layer struct {
	// Patch is a NodePatch; empty if no variable changes a field.
	Patch []byte
	// NodeName is what the node is called; "": as node.yaml says.
	NodeName string
	// Secrets are those that the patch names by their paths.
	Secrets []Secret
	Notes   []Note
}

// Environment tells what variables, as KEY=VALUE, change of a node.yaml while an agent
// runs with them. path tells where the file of a secret is.
func Environment(variables []string, path func(name string) string) (Layer, error) {
	t := newTranslation(Options{Path: path}, validPatch)
	t.patch = true
	t.tree["kind"] = spec.KindNodePatch
	t.tree.set("metadata.name", LayerName)
	t.tree.set("spec", map[string]any{})
	const ofImages = "CUDA_VERSION"
	own := lo.Reject(variables, func(kv string, _ int) bool { return strings.HasPrefix(kv, ofImages+"=") })
	if len(own) < len(variables) {
		t.note(Note{Name: ofImages, Verdict: NoOp, Text: "images of CUDA set it, whatever the operator means: CLEARML_CUDA_VERSION counts"})
	}
	over, more := overridden(nil, own)
	t.run(append(settings(over), more...))
	out := Layer{NodeName: t.name, Notes: t.notes}
	if fields, _ := t.tree.get("spec").(map[string]any); len(fields) == 0 {
		return out, nil
	}
	out.Secrets = t.secrets()
	var err error
	out.Patch, err = json.MarshalIndent(t.tree, "", "  ")
	return out, err
}

func validPatch(t tree) error {
	data, err := json.Marshal(t)
	if err != nil {
		return refuse("its value can't be written")
	}
	_, problems := spec.DecodeAll("", data)
	return firstFault(problems)
}

// overridden is a configuration with the variables over it, by precedence, and the
// variables that are no keys.
func overridden(conf map[string]any, variables []string) (map[string]value, []setting) {
	over := map[string]value{}
	flatten("", conf, over)
	set := map[string]string{}
	for _, kv := range variables {
		name, v, _ := strings.Cut(kv, "=")
		set[name] = v
	}
	var more []setting
	names := slices.Sorted(keysOf(set))
	for _, name := range names {
		path, ok := strings.CutPrefix(name, keyPrefix)
		if !ok || set[name] == "" {
			continue
		}
		found := map[string]value{}
		flatten(strings.ToLower(strings.ReplaceAll(path, "__", ".")), parsed(set[name]), found)
		for key, v := range found {
			over[key] = value{v.value, name}
		}
	}
	known := map[string]bool{}
	for i, r := range Rows() {
		if r.Kind != KindVariable {
			continue
		}
		name, v := r.lookup(set, known)
		switch {
		case name == "":
		case r.Key == "":
			more = append(more, setting{name, i, v})
		default:
			if r.convert != nil {
				v = r.convert(v.(string))
			}
			if v != nil {
				over[r.Key] = value{v, name}
			}
		}
	}
	for _, name := range names {
		ours := strings.HasPrefix(name, "CLEARML_") || strings.HasPrefix(name, "TRAINS_")
		if ours && !known[name] && !strings.HasPrefix(name, keyPrefix) {
			more = append(more, setting{name, -1, nil})
		}
	}
	return over, more
}

// lookup finds which name of a variable is set. Names of it that are set but don't
// count are known all the same.
func (r *Row) lookup(set map[string]string, known map[string]bool) (found string, v any) {
	for _, name := range r.names() {
		known[name] = true
		if s := set[name]; s != "" && found == "" {
			found, v = name, s
		}
	}
	return found, v
}

// names are those of a variable in the order in which they count.
func (r *Row) names() []string {
	var out, older, others []string
	for _, name := range append([]string{r.Name}, r.older...) {
		rest, ok := strings.CutPrefix(name, "CLEARML_")
		if !ok {
			others = append(others, name)
			continue
		}
		out, older = append(out, name), append(older, "TRAINS_"+rest)
	}
	return slices.Concat(out, older, others)
}

// parsed reads the value of a variable that stands for a key: JSON, which is HOCON too,
// else a text.
func parsed(s string) any {
	var v any
	if err := json.Unmarshal([]byte(s), &v); err == nil {
		return v
	}
	return s
}
