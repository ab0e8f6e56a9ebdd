package server

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCreateRefuses(t *testing.T) {
	s := newServer(t)
	for name, tc := range map[string]struct {
		req       m
		code, sub int
	}{
		"no name":         {m{"type": "training"}, 400, 12},
		"no type":         {m{"name": "name"}, 400, 12},
		"unknown type":    {m{"name": "name", "type": "x"}, 400, 12},
		"short name":      {m{"name": "ab", "type": "training"}, 400, 800},
		"unknown project": {m{"name": "name", "type": "training", "project": "nope"}, 400, 16},
		"unknown parent":  {m{"name": "name", "type": "training", "parent": "nope"}, 400, 101},
		"wrong type":      {m{"name": 5, "type": "training"}, 400, 12},
		"bad section":     {m{"name": "name", "type": "training", "hyperparams": m{"General": 5}}, 400, 12},
		"bad item":        {m{"name": "name", "type": "training", "hyperparams": m{"General": m{"lr": 5}}}, 400, 12},
	} {
		if a := s.send("tasks.create", tc.req); a.Code != tc.code || a.Sub != tc.sub {
			t.Errorf("%s: %d/%d %s", name, a.Code, a.Sub, a.Msg)
		}
	}
	if a := s.send("tasks.get_by_id", m{}); a.Msg != "Validation error (error for field 'task'. field is required!)" {
		t.Error(a.Msg)
	}
}

func TestProjectNames(t *testing.T) {
	s := newServer(t)
	id := s.call("projects.create", m{"name": "outer/inner", "description": "d"})["id"]
	outer := s.call("projects.get_all", m{"name": "^outer$"})["projects"].([]any)[0].(map[string]any)
	inner := s.call("projects.get_by_id", m{"project": id})["project"].(map[string]any)
	if inner["parent"] != outer["id"] || inner["basename"] != "inner" || inner["description"] != "d" {
		t.Errorf("outer %v, inner %v", outer, inner)
	}
	s.refused(400, 12, "projects.create", m{"name": "xy/proj"})
	s.refused(400, 800, "projects.create", m{"name": "xy"})
	s.refused(400, 801, "projects.create", m{"name": "outer"})
	s.refused(400, 401, "projects.get_by_id", m{"project": "nope"})
	s.call("projects.update", m{"project": outer["id"], "name": "other"})
	if got := s.call("projects.get_by_id", m{"project": id})["project"].(map[string]any)["name"]; got != "other/inner" {
		t.Errorf("below a renamed project: %v", got)
	}
}

// Edits of script, execution and models merge at their first level; others
// replace; a wrong state is refused.
func TestEdit(t *testing.T) {
	s := newServer(t)
	id := s.call("tasks.create", m{
		"name": "edited", "type": "training", "script": m{"diff": "d", "branch": "b"}, "runtime": m{"a": 1, "b": 2},
		"hyperparams": m{"General": m{"lr": m{"value": "0.1", "type": "float"}}},
	})["id"].(string)
	s.call("tasks.edit", m{"task": id, "script": m{"branch": "c"}, "runtime": m{"c": 3}, "comment": "x", "output_dest": "http://f"})
	s.call("tasks.started", m{"task": id})
	a := s.send("tasks.edit", m{"task": id, "comment": "y"})
	if a.Msg != "Invalid task status: expected=created, status=in_progress" {
		t.Error(a.Msg)
	}
	s.call("tasks.edit", m{"task": id, "force": true, "name": "renamed"})
	if got := s.call("tasks.update", m{"task": id, "status": "failed"}); got["updated"] != 0.0 {
		t.Errorf("update ignores what it does not know: %v", got)
	}
	task := s.task(id)
	want := m{
		"script": m{"diff": "d", "branch": "c"}, "runtime": m{"c": 3.0}, "comment": "x", "name": "renamed", "status": "in_progress",
		"output":      m{"destination": "http://f"},
		"hyperparams": m{"General": m{"lr": m{"name": "lr", "section": "General", "type": "float", "value": "0.1"}}},
	}
	for k, v := range want {
		if diff := cmp.Diff(v, task[k]); diff != "" {
			t.Errorf("%s: %s", k, diff)
		}
	}
}

func TestHyperParams(t *testing.T) {
	s := newServer(t)
	id := s.newTask("params")
	item := func(section, name, value string) m { return m{"section": section, "name": name, "value": value} }
	s.call("tasks.edit_hyper_params", m{"task": id, "hyperparams": []m{item("General", "a", "1"), item("General", "b", "2"), item("Args", "x", "3")}})
	s.refused(400, 12, "tasks.edit_hyper_params", m{"task": id, "hyperparams": []m{}})
	s.call("tasks.edit_hyper_params", m{"task": id, "hyperparams": []m{item("General", "c", "4")}, "replace_hyperparams": "section"})
	s.call("tasks.started", m{"task": id})
	s.refused(400, 110, "tasks.edit_hyper_params", m{"task": id, "hyperparams": []m{item("General", "c", "5")}})
	// What users note may change always.
	s.call("tasks.edit_hyper_params", m{"task": id, "hyperparams": []m{item("properties", "p", "6")}})
	s.call("tasks.delete_hyper_params", m{"task": id, "force": true, "hyperparams": []m{{"section": "Args", "name": "x"}}})
	got, _ := json.Marshal(s.task(id)["hyperparams"])
	want := `{"General":{"c":{"name":"c","section":"General","value":"4"}},"properties":{"p":{"name":"p","section":"properties","value":"6"}}}`
	if string(got) != want {
		t.Errorf("got %s", got)
	}
}

// A list that is too long is refused, not cut.
func TestLongListsAreRefused(t *testing.T) {
	s := newServer(t)
	ids := slices.Repeat([]string{s.newTask("task")}, maxMany+1)
	for _, action := range []string{"archive", "unarchive", "get_hyper_params", "get_configurations", "get_configuration_names"} {
		s.refused(400, 12, "tasks."+action, m{"tasks": ids})
	}
}

func TestOnlyFields(t *testing.T) {
	s := newServer(t)
	id := s.call("tasks.create", m{
		"name": "fields", "type": "training", "script": m{"diff": "large", "requirements": m{"pip": "numpy"}},
		"hyperparams": m{"General": m{"lr": m{"value": "0.1"}}},
	})["id"].(string)
	only := func(fields ...string) any {
		return s.call("tasks.get_all", m{"id": []string{id}, "only_fields": fields})["tasks"].([]any)[0]
	}
	for _, tc := range []struct {
		fields []string
		want   m
	}{
		{[]string{"status"}, m{"id": id, "status": "created"}},
		{[]string{"script.requirements"}, m{"id": id, "script": m{"requirements": m{"pip": "numpy"}}}},
		{[]string{"script", "script.diff"}, m{"id": id, "script": m{"diff": "large", "requirements": m{"pip": "numpy"}}}},
		{[]string{"hyperparams.General.lr.value", "runtime"}, m{"id": id, "hyperparams": m{"General": m{"lr": m{"value": "0.1"}}}, "runtime": m{}}},
		{[]string{"execution.queue", "name"}, m{"id": id, "name": "fields", "execution": m{}}},
	} {
		if diff := cmp.Diff(any(tc.want), only(tc.fields...)); diff != "" {
			t.Errorf("%v: %s", tc.fields, diff)
		}
	}
	s.refused(400, 14, "tasks.get_all", m{"only_fields": []string{"nope"}})
}

func TestFilters(t *testing.T) {
	s := newServer(t)
	project := s.call("projects.create", m{"name": "project"})["id"]
	make := func(name, kind string, tags ...string) {
		s.call("tasks.create", m{"name": name, "type": kind, "tags": tags, "project": project})
	}
	make("alpha one", "training", "x", "y")
	make("alpha two", "testing", "x")
	make("beta", "training", "y")
	make("gamma", "training")
	s.call("tasks.create", m{"name": "hidden", "type": "training", "system_tags": []string{"hidden"}})
	for i, tc := range []struct {
		req  m
		want string
	}{
		{m{}, "alpha one,alpha two,beta,gamma"},
		{m{"search_hidden": true}, "alpha one,alpha two,beta,gamma,hidden"},
		{m{"name": "^alpha"}, "alpha one,alpha two"},
		{m{"name": "^ALPHA"}, ""},
		{m{"type": []string{"testing"}}, "alpha two"},
		{m{"type": "testing"}, "alpha two"},
		{m{"status": []string{"queued"}}, ""},
		{m{"tags": []string{"x"}}, "alpha one,alpha two"},
		{m{"tags": []string{"x", "-y"}}, "alpha two"},
		{m{"tags": []string{"__$all", "x", "y"}}, "alpha one"},
		{m{"tags": []string{"-x"}}, "beta,gamma"},
		{m{"tags": []string{"__$not", "x"}}, "beta,gamma"},
		{m{"project": []any{project}, "order_by": []string{"-name"}}, "gamma,beta,alpha two,alpha one"},
		{m{"page": 1, "page_size": 2}, "beta,gamma"},
		{m{"page": 9, "page_size": 2}, ""},
		{m{"id": []string{}}, ""},
		{m{"search_text": "TWO"}, "alpha two"},
		{m{"_any_": m{"pattern": "^beta|two$", "fields": []string{"name", "comment"}}}, "alpha two,beta"},
		{m{"_all_": m{"pattern": "a", "fields": []string{"name", "comment"}}}, ""},
		{m{"created": []string{">2001-01-01"}, "type": "testing"}, "alpha two"},
		{m{"created": []string{"<2001-01-01T00:00:00"}}, ""},
		{m{"name": `' OR 1=1 --`}, ""},
	} {
		names := []string{}
		for _, task := range s.call("tasks.get_all", tc.req)["tasks"].([]any) {
			names = append(names, task.(map[string]any)["name"].(string))
		}
		if got := strings.Join(names, ","); got != tc.want {
			t.Errorf("%d %v: %q, want %q", i, tc.req, got, tc.want)
		}
	}
	s.call("tasks.get_all", m{"name": "^" + strings.Repeat("x", maxPattern-2) + "$"})
	for _, bad := range []m{{"name": "("}, {"name": strings.Repeat("x{1000}", 1000)}, {"name": strings.Repeat("x", maxPattern+1)}, {"_any_": m{"pattern": "(", "fields": []string{"name"}}}} {
		s.refused(400, 21, "tasks.get_all", bad)
	}
	for _, bad := range []m{{"order_by": []string{"name; DROP TABLE task"}}, {"_any_": m{"pattern": "x", "fields": []string{"1=1"}}}} {
		s.refused(400, 14, "tasks.get_all", bad)
	}
	s.refused(400, 12, "tasks.get_all", m{"page": -1})
	s.refused(400, 12, "tasks.get_all", m{"created": []string{"yesterday"}})
}

func TestClone(t *testing.T) {
	s := newServer(t)
	src := s.call("tasks.create", m{
		"name": "source", "type": "testing", "tags": []string{"t"}, "script": m{"entry_point": "a.py"}, "container": m{"image": "i"},
		"hyperparams": m{"General": m{"lr": m{"value": "1"}}}, "execution": m{"artifacts": []m{{"key": "in", "mode": "input"}, {"key": "out"}}},
		"models": m{"input": []m{{"name": "a", "model": "b"}}, "output": []m{{"name": "c", "model": "d"}}},
	})["id"].(string)
	s.call("tasks.enqueue", m{"task": src})
	s.call("tasks.started", m{"task": src})
	id := s.call("tasks.clone", m{"task": src, "new_task_name": "the clone", "new_project_name": "new project"})["id"].(string)
	got := s.task(id)
	execution := got["execution"].(map[string]any)
	if got["status"] != "created" || got["name"] != "the clone" || got["parent"] != src || got["type"] != "testing" || fmt.Sprint(got["tags"]) != "[t]" ||
		execution["queue"] != nil || len(execution["artifacts"].([]any)) != 1 || got["started"] != nil || got["last_worker"] != nil {
		t.Errorf("clone %v", got)
	}
	for _, part := range []string{"script", "container", "hyperparams"} {
		if diff := cmp.Diff(s.task(src)[part], got[part]); diff != "" {
			t.Errorf("%s: %s", part, diff)
		}
	}
	if models := got["models"].(map[string]any); len(models["input"].([]any)) != 1 || len(models["output"].([]any)) != 0 {
		t.Errorf("models %v", models)
	}
}

func TestArtifacts(t *testing.T) {
	s := newServer(t)
	id := s.inState("completed")
	add := m{"task": id, "artifacts": []m{{"key": "a", "uri": "1"}, {"key": "b", "uri": "2", "mode": "input"}}}
	s.refused(400, 110, "tasks.add_or_update_artifacts", add)
	add["force"] = true
	s.call("tasks.add_or_update_artifacts", add)
	s.call("tasks.add_or_update_artifacts", m{"task": id, "force": true, "artifacts": []m{{"key": "a", "uri": "3"}}})
	s.call("tasks.delete_artifacts", m{"task": id, "force": true, "artifacts": []m{{"key": "b", "mode": "input"}}})
	got, _ := json.Marshal(s.task(id)["execution"].(map[string]any)["artifacts"])
	if string(got) != `[{"key":"a","mode":"output","uri":"3"}]` {
		t.Errorf("got %s", got)
	}
}

func TestModels(t *testing.T) {
	s := newServer(t)
	task := s.inState("in_progress")
	id := s.call("models.create", m{"name": "model", "uri": "http://f/m", "task": task, "labels": m{"cat": 1}, "tags": []string{"x"}})["id"].(string)
	s.call("models.add_or_update_metadata", m{"model": id, "metadata": []m{{"key": "k", "type": "str", "value": "v"}}})
	s.call("tasks.add_or_update_model", m{"task": task, "name": "out", "model": id, "type": "output"})
	s.call("models.edit", m{"model": id, "comment": "c"})
	got := s.call("models.get_by_id", m{"model": id})["model"].(map[string]any)
	if got["uri"] != "http://f/m" || got["comment"] != "c" || got["metadata"].(map[string]any)["k"].(map[string]any)["value"] != "v" || got["labels"].(map[string]any)["cat"] != 1.0 {
		t.Errorf("model %v", got)
	}
	all := s.call("models.get_all", m{"task": []string{task}, "only_fields": []string{"id", "uri"}})["models"].([]any)
	if diff := cmp.Diff([]any{m{"id": id, "uri": "http://f/m"}}, all); diff != "" {
		t.Error(diff)
	}
	s.refused(400, 110, "models.set_ready", m{"model": id}) // its task runs, and would be published too
	s.call("models.set_ready", m{"model": id, "publish_task": false})
	s.refused(400, 203, "models.set_ready", m{"model": id, "publish_task": false})
	user := s.call("tasks.create", m{"name": "uses it", "type": "testing", "models": m{"input": []m{{"name": "in", "model": id}}}})["id"]
	s.refused(400, 205, "models.delete", m{"model": id})
	s.refused(400, 123, "tasks.reset", m{"task": task})
	s.call("models.delete", m{"model": id, "force": true})
	if got := fmt.Sprint(s.task(user.(string))["models"]); !strings.Contains(got, "__DELETED__"+id) {
		t.Errorf("models of a task that used it: %s", got)
	}
	s.refused(400, 201, "models.get_by_id", m{"model": id})
	made := s.call("models.update_for_task", m{"task": task, "uri": "http://f/n"})
	if made["created"] != true || s.call("models.get_by_task_id", m{"task": task})["model"].(map[string]any)["id"] != made["id"] {
		t.Errorf("update_for_task: %v", made)
	}
}

func TestEveryFieldOfATaskIsKnown(t *testing.T) {
	s := newServer(t)
	for name := range s.task(s.inState("published")) {
		if !taskField(name) {
			t.Errorf("the document has %q, only_fields refuses it", name)
		}
	}
}

// docs/server.md names every endpoint.
func TestEndpointsAreDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "docs", "server.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if cols := strings.Split(line, "|"); len(cols) == 4 {
			for service := range strings.SplitSeq(cols[1], ",") {
				rows[strings.TrimSpace(service)] = cols[2]
			}
		}
	}
	for _, name := range endpointNames(newServer(t)) {
		service, action, _ := strings.Cut(name, ".")
		if !regexp.MustCompile(`\b` + action + `\b`).MatchString(rows[service]) {
			t.Errorf("docs/server.md does not name %s", name)
		}
	}
}
