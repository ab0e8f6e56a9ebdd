package spec

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/samber/lo"
	"pgregory.net/rapid"
)

func decoded(t *testing.T, text string) *Node {
	t.Helper()
	n, problems := Decode("node.yaml", []byte(text))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	return n.Default(Env{Hostname: "box"})
}

const before = head + `metadata: {name: n1, labels: {rack: r1}}
spec:
  workers:
    - name: train
      queues: [urgent, default]
      count: 2
      packageManager:
        extraIndexUrls: []
        versions: {pip: "25.1"}
        python: {default: "3.12"}
    - {name: old, queues: [low]}
    - {name: last, queues: [low], stopGrace: 5s}
  packageManager:
    versions: {pip: "24.0", uv: "0.9"}
    python: {default: "3.11", onMissing: nearest}
    indexUrl: https://pypi.example.com/simple
    extraIndexUrls: [https://more.example.com/simple]
    indexCredentialsFile: /etc/agentctl/netrc
`

// TestExpand: a worker's packageManager overrides the node's field by field.
func TestExpand(t *testing.T) {
	got := Expand(decoded(t, before))
	if len(got) != 4 {
		t.Fatalf("%d workers", len(got))
	}
	want := Worker{
		Name: "train/1", Group: "train", Index: 1, ID: "n1:train:1",
		Queues: []string{"urgent", "default"}, Order: OrderPriority, Mode: ModeVenv, GPUs: GPURequest{Mode: GPUsNone},
		PackageManager: PackageManager{
			Type: ManagerPip, Versions: map[string]string{"pip": "25.1", "uv": "0.9"},
			Python:   Python{Default: "3.12", OnMissing: OnMissingNearest},
			IndexURL: "https://pypi.example.com/simple", ExtraIndexURLs: List{}, IndexCredentialsFile: "/etc/agentctl/netrc",
			SystemSitePackages: new(bool), RequirementsFrom: RequirementsTask, ProjectFolder: ProjectFolderRoot, TorchIndex: TorchOff,
		},
		StopGrace: DefaultStopGrace, AbortCallback: DefaultAbortCallback, Drain: Drain{Policy: DrainFinish, Checkpoint: Checkpoint{Signal: DefaultCheckpointSignal, Grace: DefaultCheckpointGrace}}, OnInfrastructureFailure: OnInfrastructureFailure{InfrastructureReport, DefaultAttempts},
	}
	if diff := cmp.Diff(want, got[1]); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	named := Expand(decoded(t, head+`metadata: {name: n1}
spec: {workers: [{name: a, id: "box:gpu0", queues: [q]}, {name: b, id: box, queues: [q], count: 2}]}
`))
	ids := lo.Map(named, func(w Worker, _ int) string { return w.ID })
	if want := []string{"box:gpu0", "box:0", "box:1"}; !reflect.DeepEqual(ids, want) {
		t.Errorf("ids %v, want %v", ids, want)
	}
	if pm := got[2].PackageManager; len(pm.ExtraIndexURLs) != 1 || pm.Versions["pip"] != "24.0" {
		t.Errorf("old/0 has what train overrides: %+v", pm)
	}
}

// TestOverride: each field that a worker has is the worker's, each other the node's,
// so that a new field is not forgotten.
func TestOverride(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		node, own := managers.Draw(t, "node"), managers.Draw(t, "worker")
		want := node.clone()
		var lay func(to, from reflect.Value)
		lay = func(to, from reflect.Value) {
			for i := range from.NumField() {
				switch f := from.Field(i); {
				case f.Kind() == reflect.Struct:
					lay(to.Field(i), f)
				case !f.IsZero():
					to.Field(i).Set(f)
				}
			}
		}
		lay(reflect.ValueOf(&want).Elem(), reflect.ValueOf(own))
		if node.Versions != nil {
			want.Versions = lo.Assign(node.Versions, own.Versions)
		}
		if diff := cmp.Diff(want, node.clone().override(own)); diff != "" {
			t.Fatalf("(-want +got)\n%s", diff)
		}
	})
}

// TestClone: a list that a clone shares would change with the worker that has it.
func TestClone(t *testing.T) {
	var p PackageManager
	v := reflect.ValueOf(&p).Elem()
	for i := range v.NumField() {
		if v.Field(i).Type() == reflect.TypeFor[List]() {
			v.Field(i).Set(reflect.ValueOf(List{"kept"}))
		}
	}
	copied := reflect.ValueOf(p.clone())
	for i := range v.NumField() {
		if l, ok := copied.Field(i).Interface().(List); ok {
			l[0] = "changed"
		}
		if l, ok := v.Field(i).Interface().(List); ok && l[0] != "kept" {
			t.Errorf("%s is shared", v.Type().Field(i).Name)
		}
	}
}

// TestExpandCopies: a worker that is changed must not change its neighbours.
func TestExpandCopies(t *testing.T) {
	n := decoded(t, before)
	workers := Expand(n)
	workers[0].Queues[0], workers[0].PackageManager.Versions["pip"] = "x", "x"
	if workers[1].Queues[0] == "x" || workers[1].PackageManager.Versions["pip"] == "x" || n.Spec.Workers[0].Queues[0] == "x" {
		t.Error("workers share memory")
	}
}

func TestDiff(t *testing.T) {
	after := head + `metadata: {name: n1, labels: {rack: r2, new: ""}}
spec:
  server: {url: https://api.example.com}
  gpus: {slots: none}
  workers:
    - {name: last, queues: [low], stopGrace: 5s, count: 3}
    - name: train
      queues: [default]
      gpus: 1
      packageManager:
        versions: {pip: "25.1"}
        python: {default: "3.12"}
    - {name: new, queues: [low]}
  packageManager:
    versions: {pip: "24.0", uv: "0.9"}
    python: {default: "3.11", onMissing: nearest}
    indexUrl: https://pypi.example.com/simple
    extraIndexUrls: [https://more.example.com/simple]
`
	want := []Change{
		{"metadata.labels.new", "", `""`, ClassLive},
		{"metadata.labels.rack", "r1", "r2", ClassLive},
		{"spec.server.url", "", "https://api.example.com", ClassLive},
		{"spec.gpus.slots", "auto", "none", ClassWaits},
		{"spec.workers[train].queues", "[urgent, default]", "[default]", ClassLive},
		{"spec.workers[train].count", "2", "1", ClassDrain},
		{"spec.workers[train].gpus", "none", "1", ClassWaits},
		{"spec.workers[train].packageManager.extraIndexUrls", "[]", "", ClassLive},
		{"spec.workers[old]", "{name: old, queues: [low], order: priority, count: 1, gpus: none, mode: venv, stopGrace: 30s, abortCallback: 30m, drain: {policy: finish, checkpoint: {signal: SIGUSR1, grace: 2m}}, onInfrastructureFailure: {policy: report, attempts: 3}}", "", ClassDrain},
		{"spec.workers[last].count", "1", "3", ClassLive},
		{"spec.workers[new]", "", "{name: new, queues: [low], order: priority, count: 1, gpus: none, mode: venv, stopGrace: 30s, abortCallback: 30m, drain: {policy: finish, checkpoint: {signal: SIGUSR1, grace: 2m}}, onInfrastructureFailure: {policy: report, attempts: 3}}", ClassLive},
		{"spec.workers (order)", "[train, last]", "[last, train]", ClassLive},
		{"spec.packageManager.indexCredentialsFile", "/etc/agentctl/netrc", "", ClassLive},
	}
	if diff := cmp.Diff(want, Diff(decoded(t, before), decoded(t, after))); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestChangeString(t *testing.T) {
	for want, c := range map[string]Change{
		"a: 1 -> 2": {Path: "a", Old: "1", New: "2"},
		"a: + 2":    {Path: "a", New: "2"},
		"a: - 1":    {Path: "a", Old: "1"},
	} {
		if c.String() != want {
			t.Errorf("%q, want %q", c, want)
		}
	}
}

func TestNodeName(t *testing.T) {
	for host, want := range map[string]string{
		"gpu-07": "gpu-07", "GPU_07.Example.COM": "gpu-07.example.com", "": "node", "...": "node", "-a-": "a",
		"a:b/c\n": "a-b-c", "müller": "m-ller", "10.0.0.1": "10.0.0.1",
	} {
		if got := NodeName(host); got != want || !nodeForm.MatchString(got) {
			t.Errorf("%q became %q, want %q", host, got, want)
		}
	}
}

// TestDefaults is the one list of defaults, to be seen in a change of them.
func TestDefaults(t *testing.T) {
	data := mustEncode(t, decoded(t, head+"spec:\n  workers: [{name: a, queues: [q]}]\n"))
	want := head + `metadata:
  name: box
spec:
  server:
    pollInterval: 2s
  gpus:
    slots: auto
  workers:
    - name: a
      queues: [q]
      order: priority
      count: 1
      gpus: none
      mode: venv
      stopGrace: 30s
      abortCallback: 30m
      drain:
        policy: finish
        checkpoint:
          signal: SIGUSR1
          grace: 2m
      onInfrastructureFailure:
        policy: report
        attempts: 3
  packageManager:
    type: pip
    python:
      onMissing: fail
    systemSitePackages: false
    requirementsFrom: task
    projectFolder: root
    torchIndex: "off"
  git:
    protocol: asIs
  cache:
    maxEntries: 20
    minFree: 1Gi
    resolveAge: 7d
    prebuild: true
  sandbox:
    defaultImage: host
    pull: missing
    network: host
    buildNetwork: host
    shmSize: 1Gi
    scratch:
      medium: disk
    createAhead: true
    onDenied: fail
    keep: never
    allow:
      env: true
`
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
