package harness

import (
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Root is the repository's top folder.
func Root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
	}
	t.Fatal("cannot find go.mod above the working folder")
	return ""
}

// builds holds one program per set of build tags, made when it is first asked for.
var builds struct {
	sync.Mutex
	folder string
	paths  map[string]string
}

// Program builds agentctl with the tags (separated by commas) and returns its path.
// With the tag crashpoints it dies at the point that AGENTCTL_CRASH_AT names.
func Program(t testing.TB, tags string) string {
	t.Helper()
	builds.Lock()
	defer builds.Unlock()
	if path := builds.paths[tags]; path != "" {
		return path
	}
	if builds.folder == "" {
		folder, err := os.MkdirTemp("", "agentctl-e2e-bin-")
		if err == nil {
			err = os.Chmod(folder, 0o755) // for agents of other users
		}
		if err != nil {
			t.Fatal(err)
		}
		builds.folder, builds.paths = folder, map[string]string{}
	}
	folder := filepath.Join(builds.folder, "tags-"+tags)
	build := exec.Command("bash", filepath.Join(Root(t), "test", "setup", "build.sh"), "e2e", folder, tags)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build agentctl: %v\n%s", err, out)
	}
	builds.paths[tags] = filepath.Join(folder, "agentctl")
	return builds.paths[tags]
}

// Main is for TestMain: it runs the tests and removes the programs that they built.
func Main(m *testing.M) int {
	code := m.Run()
	if builds.folder != "" {
		_ = os.RemoveAll(builds.folder) // a leftover in the temporary folder is no failure
	}
	return code
}
