package conformance

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Each endpoint that the SDK can send is there, or docs/server.md says why not.
func TestEndpointsOfTheSDK(t *testing.T) {
	at := theTarget(t)
	names, err := os.ReadFile(filepath.Join("testdata", "sdk-2.1.12.endpoints"))
	if err != nil {
		t.Fatal(err)
	}
	left := leftOut(t)
	for name := range strings.Lines(string(names)) {
		name = strings.TrimSpace(name)
		service, _, _ := strings.Cut(name, ".")
		a := at.call(t, name, map[string]any{})
		missing := a.code == 404 && a.sub == 0 && strings.Contains(a.msg, "Unable to find endpoint")
		switch told := left[name] || left[service+".*"]; {
		case missing && !told && at.ours:
			t.Errorf("%s is missing, and docs/server.md does not say why", name)
		case missing && !told:
			t.Errorf("%s is missing", name)
		case !missing && told && at.ours:
			t.Errorf("%s is there: docs/server.md leaves it out", name)
		}
	}
}

// leftOut reads the table of docs/server.md of what the SDK can send and the server
// has not.
func leftOut(t *testing.T) map[string]bool {
	t.Helper()
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "server.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(doc), "these are left out:")
	table, _, found := strings.Cut(strings.TrimSpace(table), "\n\n")
	if !found {
		t.Fatal("docs/server.md has no table of endpoints that are left out")
	}
	left := map[string]bool{}
	for line := range strings.Lines(table) {
		cols := strings.Split(line, "|")
		for _, name := range regexp.MustCompile(`[a-z]+\.(\*|[a-z_0-9]+)`).FindAllString(cols[1], -1) {
			left[name] = true
		}
	}
	return left
}
