package main

import "testing"

func TestHostMount(t *testing.T) {
	for value, want := range map[string]hostMount{
		"":                                {},
		"/mnt/host/data:/root/.clearml":   {"/mnt/host/data", "/root/.clearml"},
		"/mnt/host/data/:/root/.clearml/": {"/mnt/host/data", "/root/.clearml"},
	} {
		a := &app{Main: &Main{Getenv: func(name string) string {
			if name == "CLEARML_AGENT_K8S_HOST_MOUNT" {
				return value
			}
			return ""
		}}}
		if got, err := a.hostMount(); got != want || err != nil {
			t.Errorf("%q: %+v, %v", value, got, err)
		}
	}
	for _, bad := range []string{"/mnt", "mnt:/root", "/mnt:root", "/mnt:/", "/a:/b:/c", ":"} {
		a := &app{Main: &Main{Getenv: func(string) string { return bad }}}
		if got, err := a.hostMount(); err == nil {
			t.Errorf("%q is taken for %+v", bad, got)
		}
	}
	a := &app{mount: hostMount{"/mnt/host/data", "/root/.clearml"}}
	if got := a.defaultState(); got != "/root/.clearml/agentctl" || a.mount.outside(got) != "/mnt/host/data/agentctl" {
		t.Errorf("the state is %s, outside %s", got, a.mount.outside(got))
	}
	for _, dir := range []string{"/root", "/root/.clearml2", "/var/lib/agentctl"} {
		if got := a.mount.outside(dir); got != "" {
			t.Errorf("%s is %s outside", dir, got)
		}
	}
}
