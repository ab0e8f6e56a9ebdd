package netns

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestAvailable(t *testing.T) {
	err := Available()
	if os.Geteuid() == 0 {
		if err != nil {
			t.Error(err)
		}
		refusedToAPlainUser(t)
		return
	}
	if err == nil || !strings.Contains(err.Error(), "use the network none or host") {
		t.Errorf("to a plain user: %v", err)
	}
}

// refusedToAPlainUser is this test again, as nobody.
func refusedToAPlainUser(t *testing.T) {
	t.Helper()
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = exe.Close() }()
	// By descriptor: the folder of the program is root's.
	cmd := exec.Command("/proc/self/fd/3", "-test.run=^TestAvailable$", "-test.v")
	cmd.ExtraFiles = []*os.File{exe}
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("PASS: TestAvailable")) {
		t.Errorf("%v\n%s", err, out)
	}
}
