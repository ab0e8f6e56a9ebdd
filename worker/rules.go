package worker

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"agentctl/clearml"
	"agentctl/spec"

	"github.com/samber/lo"
)

// ruling is the rule of spec.sandbox.rules that fits a task; nil is none.
type ruling struct {
	spec.SandboxRule
	at int
}

// String is where the rule stands in node.yaml.
func (r *ruling) String() string { return fmt.Sprintf("spec.sandbox.rules[%d]", r.at) }

// number tells rules apart, and none, in what is written down.
func (r *ruling) number() int {
	if r == nil {
		return 0
	}
	return r.at + 1
}

// rulingOf is the rule of a worker with such a number.
func rulingOf(w spec.Worker, number int) *ruling {
	if number < 1 || number > len(w.Sandbox.Rules) {
		return nil
	}
	return &ruling{w.Sandbox.Rules[number-1], number - 1}
}

func (r *ruling) forces() bool { return r != nil && r.Force }

// ruleOf is the first rule that fits the task. The name of its project is asked for
// only where a rule speaks of one.
func ruleOf(ctx context.Context, t *clearml.Task, w spec.Worker, projectName func(ctx context.Context, id string) (string, error)) (*ruling, error) {
	if w.Mode != spec.ModeSandbox {
		return nil, nil
	}
	project := ""
	if t.Project != "" && slices.ContainsFunc(w.Sandbox.Rules, func(r spec.SandboxRule) bool { return r.Match.Project != "" }) {
		var err error
		if project, err = projectName(ctx, t.Project); err != nil {
			return nil, fmt.Errorf("cannot tell the name of the task's project, of which a rule of spec.sandbox.rules speaks: %w", err)
		}
	}
	for i, rule := range w.Sandbox.Rules {
		if fits(rule.Match, t, project) {
			return &ruling{rule, i}, nil
		}
	}
	return nil, nil
}

// fits tells whether all that a match says is true of the task. A match that says
// nothing fits none: Validate refuses it.
func fits(m spec.RuleMatch, t *clearml.Task, project string) bool {
	image, _, _ := asked(t)
	terms := []struct {
		patterns []string
		values   []string
	}{
		{lo.Compact([]string{m.Project}), []string{project}},
		{lo.Compact([]string{m.ProjectID}), []string{t.Project}},
		{lo.Compact([]string{m.Repository}), []string{t.Script.Repository}},
		{lo.Compact([]string{m.Branch}), []string{t.Script.Branch}},
		{lo.Compact([]string{m.Binary}), []string{t.Script.Binary}},
		{lo.Compact([]string{m.Image}), []string{image}},
		{lo.Compact([]string{m.User}), []string{t.User}},
		{m.Tags, t.Tags},
		{m.Requirements, packageLines(t.Script.Requirements)},
	}
	said := false
	for _, term := range terms {
		for _, pattern := range term.patterns {
			said = true
			re, err := regexp.Compile(pattern)
			if err != nil || !slices.ContainsFunc(term.values, re.MatchString) {
				return false
			}
		}
	}
	return said
}

// packageLines are the packages that a task lists, a line each, without the blanks around
// them: a pattern is written for name==version.
func packageLines(r clearml.Requirements) []string {
	return lo.FilterMap(slices.Concat(r.Pip, r.Conda), func(line string, _ int) (string, bool) {
		line = strings.Join(strings.Fields(line), "")
		return line, line != "" && line[0] != '#'
	})
}

// projectName asks the server for the name of a project.
func (r *run) projectName(ctx context.Context, id string) (name string, err error) {
	err = r.insist(ctx, func() error {
		name, err = r.conn.Client.ProjectName(ctx, id)
		return err
	})
	return name, err
}
