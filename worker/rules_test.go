package worker

import (
	"context"
	"errors"
	"strings"
	"testing"

	"agentctl/clearml"
	"agentctl/runtime/dockerargs"
	"agentctl/spec"

	"github.com/google/go-cmp/cmp"
)

// TestRules: all patterns of a match have to be found, and the first rule counts.
func TestRules(t *testing.T) {
	t.Parallel()
	task := &clearml.Task{Project: "p1", User: "u1", Tags: []string{"blue", "gpu-large"}}
	task.Container.Image = "nvcr.io/nvidia/pytorch:24.01"
	task.Script = clearml.Script{Repository: "git@example.com:team/vision.git", Branch: "main", Binary: "/usr/bin/python3.11"}
	task.Script.Requirements = clearml.Requirements{Pip: []string{"# made by", " torch == 2.1.0", "numpy"}, Conda: []string{"cudatoolkit=11"}}
	name := func(_ context.Context, id string) (string, error) { return "Team/" + id, nil }
	for _, c := range []struct {
		rules string
		want  int // number of the rule; 0 is none
	}{
		{`[{match: {project: "^Team/p1$"}}]`, 1},
		{`[{match: {project: "^p1$"}}]`, 0},
		{`[{match: {projectId: "^p1$"}}, {match: {project: Team}}]`, 1},
		{`[{match: {project: other}}, {match: {repository: 'vision\.git$', branch: "^main$", binary: 'python3\.11$'}}]`, 2},
		{`[{match: {branch: "^main$", user: u2}}]`, 0},
		{`[{match: {tags: ["^gpu"]}}]`, 1},
		{`[{match: {tags: ["^gpu", blue]}}]`, 1},
		{`[{match: {tags: ["^gpu", red]}}]`, 0},
		{`[{match: {image: "^$"}}, {match: {image: '^nvcr\.io/'}}]`, 2},
		{`[{match: {requirements: ['^torch==2\.']}}]`, 1},
		{`[{match: {requirements: ["^torch==2", "^cudatoolkit=11$", "^numpy$"]}}]`, 1},
		{`[{match: {requirements: [made]}}]`, 0}, // a comment
		{`[{match: {requirements: ["^torch==3"]}}]`, 0},
		{`[]`, 0},
	} {
		rule, err := ruleOf(t.Context(), task, sandboxWorker(t, "{rules: "+c.rules+"}"), name)
		if err != nil || rule.number() != c.want {
			t.Errorf("%s: rule %d, %v", c.rules, rule.number(), err)
		}
	}
	asked := 0
	lost := func(context.Context, string) (string, error) { asked++; return "", errors.New("away") }
	if _, err := ruleOf(t.Context(), task, sandboxWorker(t, `{rules: [{match: {user: u}}]}`), lost); err != nil || asked > 0 {
		t.Errorf("the project was asked for: %v", err)
	}
	if _, err := ruleOf(t.Context(), task, sandboxWorker(t, `{rules: [{match: {project: x}}]}`), lost); err == nil {
		t.Error("an unknown project is taken for none")
	}
}

// TestRuleGives: a rule's image stands in for none, its arguments lie between the
// node's and the task's, and force leaves out what the task asks for.
func TestRuleGives(t *testing.T) {
	t.Parallel()
	w := sandboxWorker(t, `{setupScript: "node", arguments: {env: {A: node, B: node, C: node, D: node}}, allow: {images: []},
    rules: [{match: {user: u}, image: "docker.io/a/rule:1", arguments: {env: {C: rule, D: rule}, capAdd: [IPC_LOCK]}, setupScript: "rule"}]}`)
	w.Environment = map[string]string{"B": "worker", "C": "worker", "D": "worker"}
	for _, c := range []struct {
		name, image, env string
		own, force       bool
		want             container
		refused          bool
	}{
		{name: "no image", want: container{Image: "docker.io/a/rule:1", Setup: []string{"node\n", "rule\n", "task\n"}}, env: "A=node B=worker C=rule D=task"},
		{name: "the rule's image by its name", image: "docker.io/a/rule:1", want: container{Image: "docker.io/a/rule:1", OwnImage: true, Setup: []string{"node\n", "rule\n", "task\n"}}, env: "A=node B=worker C=rule D=task"},
		{name: "an image of its own", image: "ubuntu", refused: true},
		{name: "force", image: "ubuntu", force: true, want: container{Image: "docker.io/a/rule:1", Setup: []string{"node\n", "rule\n"}}, env: "A=node B=worker C=rule D=rule"},
	} {
		rule := rulingOf(w, 1)
		rule.Force = c.force
		got, err := containerOf(taskIn(c.image, "-e D=task", "task"), w, rule, places{})
		if c.refused != (err != nil) {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.refused {
			continue
		}
		if env := strings.Join(variables(got.Settings, nil), " "); env != c.env || got.Settings.CapAdd[0] != "CAP_IPC_LOCK" {
			t.Errorf("%s: %s, %v", c.name, env, got.Settings.CapAdd)
		}
		if c.force != strings.Contains(strings.Join(got.Notes, "\n"), "left out of account") || !strings.Contains(got.Notes[0], "spec.sandbox.rules[0] fits") {
			t.Errorf("%s: notes %q", c.name, got.Notes)
		}
		got.Settings, got.Notes = dockerargs.Settings{}, nil
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got)\n%s", c.name, diff)
		}
	}
	if rulingOf(w, 2) != nil || rulingOf(spec.Worker{}, 1) != nil || rulingOf(w, 0) != nil {
		t.Error("a rule that is not there")
	}
}
