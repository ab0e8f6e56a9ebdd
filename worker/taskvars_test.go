package worker

import (
	"slices"
	"strings"
	"testing"

	"agentctl/clearml"
	"agentctl/spec"

	"github.com/google/go-cmp/cmp"
)

// TestOwnVariables: what a task sets for itself is all but what makes it this task of
// this agent.
func TestOwnVariables(t *testing.T) {
	t.Parallel()
	section := map[string]clearml.Param{}
	for name, value := range map[string]string{
		"NCCL_DEBUG": "INFO", "EMPTY": "", "SPACES": " a\nb ", "LD_PRELOAD": "/x.so", "CLEARML_CACHE_DIR": "/c",
		"CLEARML_TASK_ID": "other", "TRAINS_API_SECRET_KEY": "k", "CLEARML_AUTH_TOKEN": "x", "AGENTCTL_RUN": "x", "HOME": "/", "NETRC": "/x",
		"A B": "x", "": "x", "1A": "x", "A=B": "x", "NUL": "a\x00b", "LONG": strings.Repeat("x", longestVariable),
	} {
		section[name] = clearml.Param{Value: clearml.Text(value)}
	}
	task := &clearml.Task{Hyperparams: map[string]map[string]clearml.Param{EnvironmentSection: section, "Args": {"X": {Value: "1"}}}}
	env, notes := ownVariables(task, spec.Worker{TaskEnvironment: true})
	want := []string{"CLEARML_CACHE_DIR=/c", "EMPTY=", "LD_PRELOAD=/x.so", "NCCL_DEBUG=INFO", "SPACES= a\nb "}
	if diff := cmp.Diff(want, env); diff != "" || len(notes) != len(section)-len(want) {
		t.Errorf("(-want +got)\n%s\n%q", diff, notes)
	}
	if strings.Contains(strings.Join(notes, ""), "other") {
		t.Errorf("a value is told: %q", notes)
	}
	if env, notes = ownVariables(task, spec.Worker{}); env != nil || notes != nil {
		t.Errorf("set though it is off: %q, %q", env, notes)
	}
}

// TestTaskEnvOrder: the agent, packages, task and operator, the host, the image.
func TestTaskEnvOrder(t *testing.T) {
	t.Parallel()
	env := taskEnv{
		task: "t", token: "tok", home: "/h", logLevel: "DEBUG", bin: []string{"/env/bin"}, pythonPath: []string{"/code"},
		variables: []string{"P=packages", "C=packages", "PATH=/env/extra"},
		chosen:    []string{"C=chosen", "D=first", "D=second", "LANG=de_DE.UTF-8", "PATH=/mine", "PYTHONPATH=/lib:/lib2", "CLEARML_TASK_ID=x", "CLEARML_CACHE_DIR=/c", "TRAINS_LOG_LEVEL=x", "NETRC=/x", "TZ=UTC"},
		image:     []string{"C=image", "D=image", "I=image", "LANG=image", "TZ=image", "HTTP_PROXY=image", "PATH=/image/bin", "PYTHONPATH=/image", "CLEARML_CACHE_DIR=/image", "CLEARML_X=image"},
	}.build(func(name string) (string, bool) {
		v, ok := map[string]string{"TZ": "host", "HTTP_PROXY": "http://host", "SECRET": "x"}[name]
		return v, ok
	})
	seen := map[string]int{}
	for _, kv := range env {
		seen[nameOf(kv)]++
	}
	for _, kv := range []string{
		"P=packages", "C=packages", "D=first", "I=image", "LANG=de_DE.UTF-8", "TZ=UTC", "HTTP_PROXY=http://host", "HOME=/h", "CLEARML_TASK_ID=t", "CLEARML_CACHE_DIR=/c",
		"CLEARML_LOG_LEVEL=DEBUG", "TRAINS_LOG_LEVEL=DEBUG", "PYTHONPATH=/code:/lib:/lib2:/image", "SHELL=/bin/sh",
		"PATH=/env/bin:/env/extra:/mine:/image/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	} {
		if !slices.Contains(env, kv) || seen[nameOf(kv)] != 1 {
			t.Errorf("%s is not there, or not once:\n%s", kv, strings.Join(env, "\n"))
		}
	}
	for _, name := range []string{"SECRET", "NETRC", "CLEARML_X"} {
		if seen[name] > 0 {
			t.Errorf("%s is there", name)
		}
	}
}
