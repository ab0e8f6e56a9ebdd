package runtime

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/contain"
)

// The tests of this package again as a user without any rights, which is how most
// of them run where the tests are not started by root.
func TestUnprivileged(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root: the other tests are it")
	}
	cmd := exec.Command(self(), "play", "as-user", "-test.run", "TestProbe|TestShimIn|TestExits|TestLeftovers|TestKilledShim|TestStop|TestTask|TestMark|TestEvery|TestUpper|TestReadOnly|TestViews|TestOdd|TestStart|TestSandboxR|TestSandboxIs|TestSandboxO|TestSandboxS|TestSpareGets|TestSpareDies|TestSpareOf|TestExec|TestKnownAttacks$|TestHostile|TestNothingOf|TestHostImage|TestRange|TestOutside", "-test.v", "-test.timeout=8m") // what hangs is told by it, not by this test's own end
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin", "TMPDIR=" + os.TempDir(), "HOME=/", "AGENTCTL_TEST_SHIM=" + realShim(t)}
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
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

// A plain user to whom a cgroup was delegated, as systemd does it, can limit his
// tasks.
func TestDelegatedCgroup(t *testing.T) {
	var fs unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &fs); err != nil || fs.Type != unix.CGROUP2_SUPER_MAGIC || os.Geteuid() != 0 {
		t.Skip("only root can delegate cgroups, and only those of a pure version 2")
	}
	top := "/sys/fs/cgroup/agentctl-test-" + strconv.Itoa(os.Getpid())
	must(t, os.Mkdir(top, 0o755))
	defer func() { _ = (contain.Group{Dir: top}).Remove() }()
	for _, file := range []string{"", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"} {
		must(t, os.Chown(filepath.Join(top, file), 65534, 65534))
	}
	must(t, unix.Setxattr(top, "user.delegate", []byte("1"), 0))
	dir, err := os.Open(top)
	must(t, err)
	defer dir.Close()
	cmd := exec.Command(self(), "play", "as-user", "-test.run", "^(TestSandboxMemory|TestSandboxLimits|TestSandboxUsage)$/^the_task$", "-test.v")
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin", "TMPDIR=" + os.TempDir(), "HOME=/", "AGENTCTL_TEST_SHIM=" + realShim(t)}
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, UseCgroupFD: true, CgroupFD: int(dir.Fd())}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestSandboxMemory") {
		t.Errorf("as user 65534: %v\n%s", err, failures(string(out)))
	}
}

// asUser becomes user 65534, who has subordinate ids here and nowhere else.
func asUser(args []string) int {
	err := func() error {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			return err
		}
		path := filepath.Join(os.Getenv("TMPDIR"), "agentctl-subids-"+strconv.Itoa(os.Getpid()))
		if err := os.WriteFile(path, []byte("65534:300000:65536\n"), 0o644); err != nil {
			return err
		}
		defer os.Remove(path)
		for _, file := range []string{"/etc/subuid", "/etc/subgid"} {
			if err := unix.Mount(path, file, "", unix.MS_BIND, ""); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
		}
		cmd := exec.Command(os.Args[0], args...) // self() would make a folder that nobody removes
		cmd.Stdout, cmd.Stderr, cmd.Dir = os.Stdout, os.Stderr, "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		return cmd.Run()
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
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
