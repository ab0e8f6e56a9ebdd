package migrate

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"agentctl/spec"

	"github.com/google/go-cmp/cmp"
	"github.com/samber/lo"
)

func parsedConf(t testing.TB, text string) map[string]any {
	t.Helper()
	var conf map[string]any
	if err := json.Unmarshal([]byte(text), &conf); err != nil {
		t.Fatal(err)
	}
	return conf
}

// Later counts: the file, then variables that stand for any key, then those with a name
// of their own, the newer name before the older.
func TestPrecedence(t *testing.T) {
	conf := parsedConf(t, `{"agent": {"worker_name": "file", "venvs_cache": {"max_entries": 1}}, "api": {"api_server": "http://file"}}`)
	r, err := Node(conf, []string{
		"CLEARML_AGENT__AGENT__VENVS_CACHE__MAX_ENTRIES=7", "CLEARML_AGENT__API__API_SERVER=http://any", "CLEARML_API_HOST=http://own", "TRAINS_API_HOST=http://older",
		"CLEARML_AGENT__AGENT__WORKER_NAME=any", "CLEARML_WORKER_NAME=", "TRAINS_WORKER_NAME=older",
	}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := []any{r.Node.Metadata.Name, *r.Node.Spec.Cache.MaxEntries, r.Node.Spec.Server.URL}
	if diff := cmp.Diff([]any{"older", 7, "http://own"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestSchedule(t *testing.T) {
	for _, c := range []struct{ key, entries, want string }{
		{"uptime", `["17-20 SUN,TUE"]`, "0 17 * * 0,2 for 3h"},
		{"uptime", `["0-6 MON-FRI"]`, "0 0 * * 1,2,3,4,5 for 6h"},
		{"uptime", `["20 FRI", "0-8 SAT"]`, "0 20 * * 5 for 12h"},
		{"uptime", `["8-10 FRI-MON"]`, "0 8 * * 0,1,5,6 for 2h"},
		{"downtime", `["8-18 SUN-SAT"]`, "0 18 * * 0,1,2,3,4,5,6 for 14h"},
		{"uptime", `["0-24 SUN-SAT"]`, "always"},
		{"downtime", `["0-24 SUN-SAT"]`, "refused"},
		{"uptime", `["8-10"]`, "refused"},
		{"uptime", `["25 MON"]`, "refused"},
	} {
		r, err := Node(parsedConf(t, `{"agent": {"`+c.key+`": `+c.entries+`}}`), nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(lo.Map(r.Node.Spec.Workers[0].Windows, func(w spec.Window, _ int) string { return w.Cron + " for " + w.For.String() }), "; ")
		switch r.Notes[0].Verdict {
		case Refused:
			got = "refused"
		case NoOp:
			got = "always"
		}
		if got != c.want {
			t.Errorf("%s %s is %s, not %s (%v)", c.key, c.entries, got, c.want, r.Notes)
		}
	}
}

func TestSecretsAreInTheirFilesAlone(t *testing.T) {
	conf := parsedConf(t, `{
		"api": {"api_server": "https://a:hunter1@api.example.com", "credentials": {"access_key": "hunter2", "secret_key": "hunter3"}},
		"agent": {
			"git_user": "hunter4", "git_pass": "hunter5 \"x", "git": {"extra_credentials": [{"user": "u", "pass": "hunter6", "host": "https://git.example.com/group"}]},
			"package_manager": {"extra_index_url": ["https://u:hunter7@pypi.example.com/simple", "https://hunter8@other.example.com/simple"],
				"extra_pip_install_flags": ["--index-url=https://u:hunter9@third.example.com/simple"]},
			"extra_docker_arguments": ["-e", "HF_TOKEN=huntera", "-e", "URL=https://u:hunterb@x.example.com"]
		},
		"environment": {"MY_PASSWORD": "hunterc", "PLAIN": "yes", "CLEARML_API_SECRET_KEY": "hunterd"},
		"sdk": {"aws": {"s3": {"key": "huntere", "secret": "hunterf"}}}
	}`)
	r, err := Node(conf, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	text, err := r.YAML("clearml.conf")
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(lo.Map(r.Notes, func(n Note, _ int) string { return n.String() }), "\n")
	if strings.Contains(string(text), "hunter") || strings.Contains(notes, "hunter") {
		t.Errorf("a secret is in\n%s\n%s", text, notes)
	}
	files := lo.SliceToMap(r.Secrets, func(s Secret) (string, string) { return s.Name, string(s.Content) })
	want := map[string]string{
		fileServer: `{"access_key":"hunter2","secret_key":"hunter3"}` + "\n",
		fileGit:    "machine git.example.com login u password hunter6\ndefault login hunter4 password \"hunter5 \\\"x\"\n",
		fileIndex:  "machine other.example.com login hunter8 password __token__\nmachine pypi.example.com login u password hunter7\nmachine third.example.com login u password hunter9\n",
		fileAgent:  "AWS_ACCESS_KEY_ID='huntere'\nAWS_SECRET_ACCESS_KEY='hunterf'\nHF_TOKEN='huntera'\nMY_PASSWORD='hunterc'\nURL='https://u:hunterb@x.example.com'\n",
	}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "MY_PASSWORD"}, slices.Sorted(slices.Values(r.Node.Spec.Workers[0].HostEnvironment))); diff != "" {
		t.Error(diff)
	}
}

func TestContainerArguments(t *testing.T) {
	conf := parsedConf(t, `{"agent": {"extra_docker_arguments": "-v /data:/data:ro --shm-size=8g --ipc host --ulimit nofile=1024:4096 --cap-add SYS_PTRACE --dns 10.0.0.1 --memory 4g --cpus 2 --privileged -p 80:80 --name x --network none"}}`)
	r, err := Node(conf, nil, Options{Sandbox: true})
	if err != nil {
		t.Fatal(err)
	}
	s, w := r.Node.Spec.Sandbox, r.Node.Spec.Workers[0]
	got := []any{s.Arguments.Mounts, s.ShmSize.String(), s.Arguments.IPC, s.Ulimits, s.Arguments.CapAdd, s.Arguments.DNS, w.Resources.Memory.String(), w.Resources.CPUs, s.Network}
	want := []any{[]spec.HostMount{{Source: "/data", Target: "/data"}}, "8Gi", "host", map[string]string{"nofile": "1024:4096"}, []string{"SYS_PTRACE"}, []string{"10.0.0.1"}, "4Gi", 2.0, "none"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, lost := range []string{"--privileged", "-p 80:80"} {
		if !strings.Contains(r.Notes[0].Text, lost) {
			t.Errorf("nothing is said of %s: %s", lost, r.Notes[0].Text)
		}
	}
}

func TestEnvironment(t *testing.T) {
	layer, err := Environment([]string{
		"CLEARML_API_HOST=https://api.example.com/", "CLEARML_API_ACCESS_KEY=A", "CLEARML_API_SECRET_KEY=hunter", "CLEARML_WORKER_NAME=Box_7", "CLEARML_WORKER_ID=x:0",
		"CLEARML_AGENT_GIT_USER=u", "CLEARML_AGENT_GIT_PASS=hunter", "CLEARML_AGENT_GIT_HOST=git.example.com", "CLEARML_DOCKER_IMAGE=python:3.12", "NVIDIA_VISIBLE_DEVICES=0,2",
		"CLEARML_AGENT_SKIP_PIP_VENV_INSTALL=/opt/venv/bin/python", "CLEARML_AGENT_QUEUE_POLL_FREQ_SEC=7.5", "CLEARML_AGENT_EXTRA_DOCKER_ARGS=--ipc=host -e A=1", "CLEARML_NOBODY=1", "PATH=/bin", "CUDA_VERSION=12.6.3",
	}, func(name string) string { return "/proc/1/fd/" + name })
	if err != nil {
		t.Fatal(err)
	}
	base := []byte("apiVersion: agentctl/v1\nkind: Node\nmetadata: {name: old}\nspec: {workers: [{name: a, queues: [q]}], server: {url: 'http://old'}}\n")
	n, problems := spec.DecodeFor("node.yaml", spec.Join([]spec.File{{Name: "node.yaml", Text: base}, {Name: LayerName, Text: layer.Patch}}), spec.Host{Name: "box"})
	if n == nil {
		t.Fatalf("%s\n%v", layer.Patch, problems)
	}
	got := []any{
		n.Spec.Server.URL, n.Spec.Server.CredentialsFile, n.Spec.Git.CredentialsFile, n.Spec.Sandbox.DefaultImage, n.Spec.GPUs.Slots.String(),
		n.Spec.PackageManager.UseInterpreter, n.Spec.Server.PollInterval.String(), n.Spec.Sandbox.Arguments.IPC, n.Spec.Sandbox.Arguments.Env["A"], layer.NodeName,
	}
	want := []any{
		"https://api.example.com", "/proc/1/fd/clearml.credentials", "/proc/1/fd/git.netrc", "python:3.12", "[{device: 0}, {device: 2}]",
		"/opt/venv/bin/python", "7.5s", "host", "1", "box-7",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, verdict := range map[string]Verdict{"CLEARML_WORKER_ID": Refused, "CLEARML_NOBODY": Unknown, "CUDA_VERSION": NoOp, "CLEARML_API_SECRET_KEY": Mapped} {
		if n, _ := noteOf(layer.Notes, name); n.Verdict != verdict {
			t.Errorf("%s is %q: %s", name, n.Verdict, n.Text)
		}
	}
	if strings.Contains(string(layer.Patch), "hunter") {
		t.Errorf("a secret is in %s", layer.Patch)
	}
	for _, says := range []string{"all", "void"} { // as images and runtimes of containers do
		none, err := Environment([]string{"PATH=/bin", "HOME=/", "NVIDIA_VISIBLE_DEVICES=" + says}, nil)
		if err != nil || none.Patch != nil || none.NodeName != "" {
			t.Errorf("nothing asked for gives %s, %v", none.Patch, err)
		}
	}
}

// Whatever the shape of a configuration, what comes of it is valid and every key is told of.
func FuzzNode(f *testing.F) {
	f.Add(`{"agent": {"git_user": 1, "package_manager": {"pip_version": {}}, "uptime": "x", "venvs_cache": 5}}`)
	f.Add(`{"agent": {"extra_docker_arguments": ["-v", "/a:/b", 3], "default_docker": {"match_rules": [{"match": {"script": {"requirements": {"pip": {"a": 1}}}}}]}}}`)
	f.Add(`{"environment": {"a b": "c", "X": {"y": 1}}, "sdk": [], "api": {"credentials": {"access_key": "\u0001"}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var conf map[string]any
		if json.Unmarshal([]byte(text), &conf) != nil {
			return
		}
		r, err := Node(conf, nil, Options{})
		if err != nil {
			t.Fatalf("%v", err)
		}
		if _, err := r.YAML("x\n- y"); err != nil {
			t.Fatalf("%v", err)
		}
		over := map[string]value{}
		flatten("", conf, over)
		for path := range over {
			if _, ok := noteOf(r.Notes, path); !ok {
				t.Errorf("nothing is said of %q", path)
			}
		}
	})
}

func FuzzEnvironment(f *testing.F) {
	f.Add("CLEARML_AGENT__AGENT__GIT_PASS={", "CLEARML_AGENT_EXTRA_DOCKER_ARGS='")
	f.Add("NVIDIA_VISIBLE_DEVICES=GPU-1,,x", "CLEARML_AGENT_QUEUE_POLL_FREQ_SEC=-1e99")
	f.Fuzz(func(t *testing.T, a, b string) {
		layer, err := Environment([]string{a, b}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if layer.Patch == nil {
			return
		}
		if _, problems := spec.DecodeAll("", layer.Patch); problems.Err() != nil {
			t.Fatalf("%s\n%v", layer.Patch, problems)
		}
	})
}

// What is carried over is what node.yaml can hold, whatever stands there.
func TestKeysWithAnyValue(t *testing.T) {
	values := []any{
		"", "x", "\x00\x1b[31m", "a\nb", "\xff\xfe", "${A}", "https://u:p@[", strings.Repeat("long", 3000), "- a: b", "'", `"`, "#", "--", "~/x", "../x",
		-1.0, 1e300, 0.5, true, false, nil, []any{}, []any{1.0, nil}, []any{"a", []any{}}, []any{map[string]any{"host": 1.0}}, map[string]any{}, map[string]any{"": "x", "a.b": map[string]any{}},
	}
	for _, r := range Rows() {
		if r.Kind != KindKey || r.apply == nil {
			continue
		}
		for _, v := range values {
			conf := map[string]any{}
			put(conf, r.Name, v)
			res, err := Node(conf, nil, Options{})
			if err == nil && lo.SomeBy(res.Notes, func(n Note) bool { return n.Verdict == Mapped }) {
				_, err = res.YAML("x")
			}
			if err != nil {
				t.Errorf("%s = %.40q: %v", r.Name, v, err)
			}
			if len(res.Notes) == 0 && r.Name != "environment" {
				t.Errorf("%s = %.40q: nothing is said", r.Name, v)
			}
		}
	}
}

// Flags of pip, one by one: what has a field of its own goes there, its login to a
// file; of the rest each is told what takes its place.
func TestPipFlags(t *testing.T) {
	for name, tc := range map[string]struct {
		flags   []any
		verdict Verdict
		want    spec.List
		text    string
	}{
		"values apart":    {[]any{"--only-binary", ":all:", "--no-deps"}, Mapped, spec.List{"--only-binary=:all:", "--no-deps"}, ""},
		"values joined":   {[]any{"--no-binary=numpy", "--pre", "--pre"}, Mapped, spec.List{"--no-binary=numpy", "--pre"}, ""},
		"needless":        {[]any{"--upgrade", "-q"}, NoOp, nil, "-q is not needed here"},
		"others":          {[]any{"--pre", "--trusted-host=h", "--log=/x/hunter2", "hunter2"}, Mapped, spec.List{"--pre"}, "pip.conf"},
		"only others":     {[]any{"--target=/usr", "-U"}, Refused, nil, "a place of their own"},
		"index and flags": {[]any{"--extra-index-url", "https://u:hunter2@pypi.example.com/simple", "--prefer-binary"}, Mapped, spec.List{"--prefer-binary"}, ""},
	} {
		r, err := Node(map[string]any{"agent": map[string]any{"package_manager": map[string]any{"extra_pip_install_flags": tc.flags}}}, nil, Options{})
		if err != nil {
			t.Fatal(err)
		}
		n, _ := noteOf(r.Notes, "agent.package_manager.extra_pip_install_flags")
		if got := r.Node.Spec.PackageManager.InstallFlags; n.Verdict != tc.verdict || !slices.Equal(got, tc.want) || !strings.Contains(n.Text, tc.text) || strings.Contains(n.Text, "hunter2") {
			t.Errorf("%s: %q, %s: %s", name, got, n.Verdict, n.Text)
		}
	}
}
