package migrate

import (
	"errors"
	"regexp"
	"strings"

	"github.com/samber/lo"
)

// selectors are what a rule may look at, by their names here.
var selectors = map[string]string{
	"project": "project", "project_id": "projectId", "user_id": "user", "container": "image", "container.image": "image",
	"script.binary": "binary", "script.repository": "repository", "script.branch": "branch",
}

func matchRules(t *translation, v any) error {
	list, ok := v.([]any)
	if !ok {
		return refuse("its value is no list of rules")
	}
	for i, e := range list {
		m, ok := e.(map[string]any)
		if !ok {
			return refuse("rule %d is no mapping", i+1)
		}
		rule, err := t.matchRule(m)
		if err != nil {
			return refuse("rule %d: %s", i+1, err)
		}
		t.tree.push("spec.sandbox.rules", rule)
	}
	return nil
}

func (t *translation) matchRule(m map[string]any) (map[string]any, error) {
	match := map[string]any{}
	if err := selected(match, "", m["match"]); err != nil {
		return nil, err
	}
	rule := map[string]any{"match": match}
	if s, err := textOf(m["image"]); err == nil && s != "" {
		rule["image"] = s
	}
	if !empty(m["arguments"]) {
		arguments, err := t.ruleArguments(m["arguments"])
		if err != nil {
			return nil, err
		}
		if arguments != nil {
			rule["arguments"] = arguments
		}
	}
	if lines, err := listOf(m["setup_shell_script"]); err == nil && len(lines) > 0 {
		rule["setupScript"] = strings.Join(lines, "\n") + "\n"
	}
	if on, err := boolOf(m["force_container_rules"]); err == nil && on {
		rule["force"] = true
	}
	return rule, nil
}

// ruleArguments are the arguments of a rule. Those that are no part of
// sandbox.arguments are told.
func (t *translation) ruleArguments(v any) (any, error) {
	own := newTranslation(t.opts, validNode)
	own.agent = t.agent // the agent has one environment
	own.tree["kind"] = "Node"
	own.tree.set("spec.workers", []any{})
	own.patch = true // limits of workers have no place in a rule
	var none noopError
	if err := dockerArguments(own, v); err != nil && !errors.As(err, &none) {
		return nil, err
	}
	if own.said != "" {
		t.say(own.said)
	}
	for _, name := range []string{"shmSize", "network", "ulimits"} {
		if own.tree.get("spec.sandbox."+name) != nil {
			t.say("a rule's " + name + " is not carried over: it is a setting of all workers, or of one (spec.workers[].sandbox)")
		}
	}
	return own.tree.get(sandboxArguments), nil
}

// selected reads what tasks a rule fits.
func selected(match map[string]any, path string, v any) error {
	switch inner := v.(type) {
	case map[string]any:
		if path == "script.requirements" {
			return requirements(match, inner)
		}
		for _, name := range sortedKeys(inner) {
			if err := selected(match, strings.TrimPrefix(path+"."+name, "."), inner[name]); err != nil {
				return err
			}
		}
		return nil
	case nil:
		return nil
	}
	if path == "tags" || path == "script.requirements" {
		list, err := listOf(v)
		if err == nil && len(list) > 0 {
			match[strings.TrimPrefix(path, "script.")] = lo.ToAnySlice(list)
		}
		return err
	}
	s, err := textOf(v)
	switch to := selectors[path]; {
	case err != nil:
		return refuse("%.60q is no text", path)
	case s == "":
	case to == "":
		return refuse("it matches by %.60q, for which there is no field", path)
	default:
		match[to] = s
	}
	return nil
}

// requirements are packages with the beginnings of what is said of their versions, as
// {pip: {tensorflow: "~=1.6"}}.
func requirements(match, m map[string]any) error {
	var lines []any
	for _, manager := range sortedKeys(m) {
		packages, ok := m[manager].(map[string]any)
		if !ok {
			list, err := listOf(m[manager])
			if err != nil {
				return err
			}
			lines = append(lines, lo.ToAnySlice(list)...)
			continue
		}
		for _, name := range sortedKeys(packages) {
			version, err := textOf(packages[name])
			if err != nil {
				return err
			}
			lines = append(lines, "^"+regexp.QuoteMeta(name)+`\s*`+regexp.QuoteMeta(version))
		}
	}
	if len(lines) > 0 {
		match["requirements"] = lines
	}
	return nil
}
