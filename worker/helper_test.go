package worker

import (
	"os"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tempDir is t.TempDir for a property test, which runs many times.
func tempDir(t *rapid.T) string {
	dir, err := os.MkdirTemp("", "agentctl-worker-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
