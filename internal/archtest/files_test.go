package archtest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// root is the repository's top folder.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// files lists what belongs to the repository, relative to its root: what git
// tracks and what it does not ignore.
func files(t *testing.T) []string {
	t.Helper()
	cmd := exec.Command("git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root(t)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	return strings.FieldsFunc(string(out), func(r rune) bool { return r == 0 })
}

// places are marks of one machine or workplace. Written as patterns that don't
// match themselves.
var places = []struct {
	pattern *regexp.Regexp
	why     string
}{
	{regexp.MustCompile(`(^|[^\w./-])/wor[k]/\w`), "a folder of the machine this was written on"},
	{regexp.MustCompile(`(^|[^\w./-])/roo[t]/\.([abd-z]|c[a-km-z])`), "root's home on the machine this was written on"}, // ~/.clearml is clearml-agent's
	{regexp.MustCompile(`(^|[^\w./-])/home/(?:[a-z]+)/`), "somebody's home"},
	{regexp.MustCompile(`\b(pyp[i]|pythonhoste[d]|prox[y]\.golang|sum\.golan[g]|registry\.npmj[s]|deb\.debia[n]|repo\.mave[n])\.(org|io|com|net)\b`), "a registry's host: clients find theirs by their own settings, which mirrors change"},
}

func TestNoPlacesOfOneMachine(t *testing.T) {
	for _, name := range files(t) {
		data, err := os.ReadFile(filepath.Join(root(t), name))
		if err != nil || bytes.IndexByte(data, 0) >= 0 {
			continue // deleted but not committed yet, a link to a folder, or binary
		}
		for n, line := range strings.Split(string(data), "\n") {
			for _, place := range places {
				if found := place.pattern.FindString(line); found != "" {
					t.Errorf("%s:%d: %q: %s", name, n+1, strings.TrimSpace(found), place.why)
				}
			}
		}
	}
}
