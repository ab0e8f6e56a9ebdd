package worker

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"agentctl/clearml"
	"agentctl/runtime/dockerargs"
	"agentctl/spec"
)

// EnvironmentSection is the section of a task's hyperparameters that holds variables.
const EnvironmentSection = "Environment"

const (
	// longestVariable is what the kernel takes of one, its name included, less a margin.
	longestVariable = 120 << 10
	// mostVariables is how many a task may set.
	mostVariables = 1000
)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// ownVariables are those that a task sets by its hyperparameters, as KEY=VALUE, and
// what is to be said of the others. By none of them may it look like another task or
// another agent to the server or to the shim that holds it.
func ownVariables(t *clearml.Task, w spec.Worker) (env, notes []string) {
	section := t.Hyperparams[EnvironmentSection]
	if !w.TaskEnvironment || len(section) == 0 {
		return nil, nil
	}
	for _, name := range slices.Sorted(maps.Keys(section)) {
		value := string(section[name].Value)
		var why string
		switch {
		case len(env) == mostVariables:
			return env, append(notes, fmt.Sprintf("only the first %d variables of the hyperparameters %s are set", mostVariables, EnvironmentSection))
		case !variableName.MatchString(name):
			why = "it is no name of a variable"
		case spec.AgentVariable(name):
			why = "the agent sets it itself"
		case len(name)+len(value) > longestVariable || slices.Contains([]byte(value), 0):
			why = "its value is too long or has a zero byte"
		default:
			env = append(env, name+"="+value)
			continue
		}
		notes = append(notes, fmt.Sprintf("the hyperparameter %s/%.80q is not set as a variable: %s", EnvironmentSection, name, why))
	}
	return env, notes
}

// chosen are the variables of the task itself and those of its worker; of a sandbox
// these are among its settings.
func (r *run) chosen(p *prepared) []string {
	env, notes := ownVariables(r.task, r.rec.Worker)
	for _, note := range notes {
		r.say("WARNING: %s", note)
	}
	if p.box == nil {
		env = append(env, variables(dockerargs.Settings{Env: workerVariables(r.rec.Worker)}, r.pool.cfg.Environ)...)
	}
	return env
}

// workerVariables are those that the operator gives to all tasks of a worker.
func workerVariables(w spec.Worker) []dockerargs.Env {
	return envOf(w.Environment, w.HostEnvironment)
}

func envOf(values map[string]string, fromHost []string) (env []dockerargs.Env) {
	for _, name := range slices.Sorted(maps.Keys(values)) {
		env = append(env, dockerargs.Env{Name: name, Value: values[name]})
	}
	for _, name := range fromHost {
		env = append(env, dockerargs.Env{Name: name, FromHost: true})
	}
	return env
}
