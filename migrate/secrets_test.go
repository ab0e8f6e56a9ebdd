package migrate

import (
	"slices"
	"strings"
	"testing"

	"agentctl/spec"

	"github.com/google/go-cmp/cmp"
	"github.com/samber/lo"
)

// What a name or its place tells to be secret goes to no file that others may read, and
// no message repeats what can't be kept.
func TestSecretsByTheirNames(t *testing.T) {
	for _, name := range []string{"DB_PASSPHRASE", "GITHUB_PAT", "MYSQL_PWD", "PASS", "SAS", "AZURE_STORAGE_CONNECTION_STRING", "SENTRY_DSN", "OPENAI_KEY", "REDISCLI_AUTH", "HF_TOKEN", "aws_secret_access_key"} {
		r, err := Node(map[string]any{"environment": map[string]any{name: "hunter2", "PATH_OF_KEYS": "x", "MONKEY": "y"}}, nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		w := r.Node.Spec.Workers[0]
		if !slices.Equal(w.HostEnvironment, spec.List{name}) || len(w.Environment) != 2 {
			t.Errorf("%s is taken for no secret: %v, %v", name, w.HostEnvironment, w.Environment)
		}
	}
}

func TestSecretsAreInNoNote(t *testing.T) {
	values := []any{
		"hunter2\x01", "https://u:hunter2@[", "https://u:hunter2@h h/x", "-e A_TOKEN=hunter2'x -e B=hunter2\x01", "--password hunter2",
		[]any{"-e", "X_TOKEN=hunter2\n"}, []any{"hunter2 hunter2", "https://u:hunter2@"}, map[string]any{"A B": "hunter2", "X": "hunter2\x00", "Y_TOKEN": "hunter2\n"},
		[]any{map[string]any{"user": "hunter2", "pass": "hunter2\n", "host": "h"}}, "--index-url https://u:hunter2@h:port/x --extra-index-url https://u:hunter2@/ --log=hunter2",
	}
	for _, row := range Rows() {
		for _, v := range values {
			conf := map[string]any{}
			put(conf, row.Name, v)
			if !row.secret || row.Kind != KindKey {
				continue
			}
			r, err := Node(conf, nil, Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range r.Notes {
				if strings.Contains(n.String(), "hunter2") {
					t.Errorf("%s = %q: %s", row.Name, v, n)
				}
			}
		}
	}
}

// Half a login is none, whether a key or a variable gives it.
func TestHalfOfALogin(t *testing.T) {
	for _, variables := range [][]string{nil, {"CLEARML_API_ACCESS_KEY=a", "CLEARML_AGENT_GIT_USER=u", "CLEARML_AGENT_GIT_HOST=h.example.com"}} {
		r, err := Node(parsedConf(t, `{"api": {"credentials": {"access_key": "a"}}, "agent": {"git_user": "u", "git_host": "h.example.com"}}`), variables, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range r.Notes {
			if n.Verdict != Refused || n.Target != "" {
				t.Errorf("%s", n)
			}
		}
		if len(r.Notes) != 3 || len(r.Secrets) != 0 {
			t.Errorf("%v, %v", r.Notes, r.Secrets)
		}
	}
}

// The agent has one environment: no task gets the secret of another in silence.
func TestTwoValuesOfOneSecret(t *testing.T) {
	r, err := Node(parsedConf(t, `{
		"environment": {"HF_TOKEN": "first"},
		"agent": {
			"extra_docker_arguments": ["-e", "HF_TOKEN=first", "-e", "B_TOKEN=first"],
			"default_docker": {"match_rules": [{"image": "a", "arguments": "-e A=1 -e B_TOKEN=second", "match": {"project": "a"}}, {"image": "b", "arguments": "-e C_TOKEN=first", "match": {"project": "b"}}]}
		}
	}`), nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := lo.Map(r.Node.Spec.Sandbox.Rules, func(r spec.SandboxRule, _ int) spec.List { return r.Arguments.HostEnv })
	if diff := cmp.Diff([]spec.List{nil, {"C_TOKEN"}}, got); diff != "" {
		t.Error(diff)
	}
	if n, _ := noteOf(r.Notes, "agent.default_docker.match_rules"); !strings.Contains(n.Text, "-e B_TOKEN=…: it has another value") {
		t.Errorf("nothing is said of it: %s", n.Text)
	}
	if want := "B_TOKEN='first'\nC_TOKEN='first'\nHF_TOKEN='first'\n"; len(r.Secrets) != 1 || string(r.Secrets[0].Content) != want {
		t.Errorf("the agent gets %s", r.Secrets)
	}
}

// Without quotes HOCON has 3.10 and 12.0 as numbers.
func TestVersionsThatAreNumbers(t *testing.T) {
	for text, want := range map[string]string{
		`{"agent": {"default_python": 3.1, "cuda_version": 12}}`:       "3.10 cu120",
		`{"agent": {"python_binary": "3.11", "cuda_version": 12.4}}`:   "3.11 cu124",
		`{"agent": {"default_python": "3.9", "cuda_version": "92"}}`:   "3.9 cu92",
		`{"agent": {"default_python": 3.12, "cuda_version": "124"}}`:   "3.12 cu124",
		`{"agent": {"default_python": 3.1, "cuda_version": "11.8.0"}}`: "3.10 cu118",
	} {
		r, err := Node(parsedConf(t, text), nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Node.Spec.PackageManager.Python.Default + " " + r.Node.Spec.PackageManager.TorchIndex; got != want {
			t.Errorf("%s is %s, not %s", text, got, want)
		}
	}
}

func TestEnvironmentThatIsNotApplied(t *testing.T) {
	for _, variables := range [][]string{nil, {"CLEARML_AGENT_ENABLE_ENV_CONFIG_SECTION=1"}} {
		r, err := Node(parsedConf(t, `{"agent": {"apply_environment": false}, "environment": {"A": "b"}}`), variables, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := len(r.Node.Spec.Workers[0].Environment); got != len(variables) {
			t.Errorf("with %v %d variables are carried over: %v", variables, got, r.Notes)
		}
	}
}
