package spec

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// TestExpandSandbox: a worker's image is what its tasks get by default; others have no
// sandbox at all, so that a change of it does not concern them.
func TestExpandSandbox(t *testing.T) {
	got := Expand(decoded(t, head+`spec:
  workers:
    - {name: a, queues: [q], mode: sandbox, image: "python:3.12"}
    - {name: b, queues: [q], mode: sandbox}
    - {name: c, queues: [q]}
  sandbox: {network: none, allow: {mounts: [/data]}}
`))
	got[0].Sandbox.Allow.Mounts[0] = "/changed"
	a, b, c := got[0], got[1], got[2]
	if a.Image != "python:3.12" || a.Sandbox.DefaultImage != a.Image || a.Sandbox.Network != NetworkNone {
		t.Errorf("a: %+v", a)
	}
	if b.Image != ImageHost || b.Sandbox.Allow.Mounts[0] != "/data" || !*b.Sandbox.Allow.Env {
		t.Errorf("b: %+v", b)
	}
	if c.Image != "" || !reflect.DeepEqual(c.Sandbox, Sandbox{}) {
		t.Errorf("c: %+v", c)
	}
}

// TestWorkerSandbox: a worker's own settings are laid over the node's, and nobody
// else's.
func TestWorkerSandbox(t *testing.T) {
	got := Expand(decoded(t, head+`spec:
  workers:
    - name: a
      queues: [q]
      mode: sandbox
      sandbox:
        network: none
        ulimits: {nofile: 7}
        arguments: {env: {B: mine}, mounts: [{source: /new, target: /data}, {source: /more}], devices: [/dev/b], user: "5"}
    - {name: b, queues: [q], mode: sandbox}
  sandbox:
    shmSize: 2Gi
    ulimits: {nofile: 5, core: 0}
    arguments: {env: {A: node, B: node}, mounts: [{source: /data, writable: true}], devices: [/dev/a, /dev/b]}
`))
	a, b := got[0].Sandbox, got[1].Sandbox
	want := b.clone()
	want.DefaultImage, want.Network, want.Ulimits = a.DefaultImage, NetworkNone, map[string]string{"nofile": "7", "core": "0"}
	want.Arguments.Env = map[string]string{"A": "node", "B": "mine"}
	want.Arguments.Mounts = []HostMount{{Source: "/new", Target: "/data"}, {Source: "/more", Target: "/more"}}
	want.Arguments.Devices, want.Arguments.User = []string{"/dev/a", "/dev/b"}, "5"
	if diff := cmp.Diff(want, a); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if b.Network != NetworkHost || b.Arguments.Env["B"] != "node" || !b.Arguments.Mounts[0].Writable {
		t.Errorf("the other worker: %+v", b)
	}
}

// TestCloneSandbox: nothing below it is shared, or one worker would change another.
func TestCloneSandbox(t *testing.T) {
	full := sandboxes.Filter(func(s Sandbox) bool {
		return len(s.Registries) > 0 && len(s.Arguments.Mounts) > 0 && len(s.Allow.Images) > 0
	})
	rapid.Check(t, func(t *rapid.T) {
		s := full.Draw(t, "sandbox")
		var shared func(path string, a, b reflect.Value)
		shared = func(path string, a, b reflect.Value) {
			switch a.Kind() {
			case reflect.Struct:
				for i := range a.NumField() {
					shared(path+"."+a.Type().Field(i).Name, a.Field(i), b.Field(i))
				}
			case reflect.Slice, reflect.Map, reflect.Pointer:
				if !a.IsNil() && a.Pointer() == b.Pointer() && (a.Kind() == reflect.Pointer || a.Len() > 0) {
					t.Fatalf("%s is shared", path)
				}
				if a.Kind() == reflect.Slice {
					for i := range a.Len() {
						shared(path, a.Index(i), b.Index(i))
					}
				}
			}
		}
		shared("", reflect.ValueOf(s), reflect.ValueOf(s.clone()))
	})
}
