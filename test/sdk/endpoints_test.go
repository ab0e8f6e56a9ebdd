package sdk

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"agentctl/test/e2e/harness"
)

// The list that the conformance suite holds the server against is what the SDK's
// source can send.
func TestEndpointsOfTheSDK(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), python(t), "endpoints.py")
	cmd.Dir, cmd.Stderr = "testdata", os.Stderr
	got, err := cmd.Output()
	must(t, err)
	want, err := os.ReadFile(filepath.Join("..", "conformance", "testdata", "sdk-"+harness.SDKVersion+".endpoints"))
	must(t, err)
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Error(diff)
	}
}
