package runtime

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// The tests of this package again as a user without any rights, which is how most
// of them run where the tests are not started by root.
func TestUnprivileged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: the other tests are it")
	}
	cmd := exec.Command(self(), "-test.run", "TestProbe|TestShimIn|TestExits|TestLeftovers|TestKilledShim|TestStop|TestTask|TestMark|TestEvery|TestUpper|TestReadOnly|TestViews|TestOdd|TestStart", "-test.v")
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin", "TMPDIR=" + os.TempDir(), "HOME=/", "AGENTCTL_TEST_SHIM=" + realShim(t)}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("as user 65534: %v\n%s", err, failures(string(out)))
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "works=") || strings.Contains(line, "--- SKIP") || strings.HasPrefix(line, "ok") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

// failures leaves out the lines of tests that passed.
func failures(out string) string {
	var b strings.Builder
	for line := range strings.Lines(out) {
		if !strings.HasPrefix(line, "=== ") && !strings.Contains(line, "--- PASS") {
			b.WriteString(line)
		}
	}
	return b.String()
}
