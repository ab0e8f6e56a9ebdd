package spec

import (
	"reflect"
	"testing"

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
