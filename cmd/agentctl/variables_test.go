package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The variables that the SDK of this machine's users has name the agent's own server: it
// is to stay that.
func TestVariablesOfTheOwnServer(t *testing.T) {
	state := t.TempDir()
	dir := filepath.Join(state, "server")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"lock": "", "endpoint.json": `{"api": "http://127.0.0.1:8008"}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rest := []string{"PATH=/bin", "CLEARML_AGENT_GIT_USER=u"}
	own := append([]string{"CLEARML_API_HOST=http://127.0.0.1:8008/", "CLEARML_API_ACCESS_KEY=a", "TRAINS_API_SECRET_KEY=b"}, rest...)
	if diff := cmp.Diff(rest, withoutOwnServer(own, state)); diff != "" {
		t.Error(diff)
	}
	other := append([]string{"CLEARML_API_HOST=http://127.0.0.1:9008", "CLEARML_API_ACCESS_KEY=a"}, rest...)
	if diff := cmp.Diff(other, withoutOwnServer(other, state)); diff != "" {
		t.Error(diff)
	}
}

func TestCredentialsOfAToken(t *testing.T) {
	keys, err := parseCredentials([]byte(`{"auth_token":"abc"}`))
	if err != nil || keys.Token != "abc" {
		t.Errorf("%+v, %v", keys, err)
	}
}
