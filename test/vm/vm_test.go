package vm

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tests are those of package runtime that tell something of cgroup v2, within a
// minute on a kernel that is five times as slow as its host.
const tests = "^(TestProbe|TestSandboxRuns|TestSandboxMemory|TestSandboxLimits|TestSandboxUsage|TestSpareGetsTheLimitsOfItsRun|TestSandboxIsStopped|TestSandboxOutlivesTheAgentOnly|TestSandboxDevices|TestSandboxLimitsInTheKernel|TestLeftoversAreKilled|TestDelegatedCgroup)$/^(the_task|a_child,_hidden_by_an_exit_code|cgroup2|kernel_.*)$"

const (
	// Of the tests in it, beside which those of test/e2e run.
	guestPatience = "300s"
	patience      = 330 * time.Second
)

func TestCgroup2(t *testing.T) {
	linux, err := exec.LookPath("linux.uml")
	if err != nil {
		t.Skip("there is no user-mode Linux: Debian has it in the package user-mode-linux")
	}
	modules, err := filepath.Glob("/usr/lib/uml/modules/*/kernel/fs/overlayfs/overlay.ko")
	if err != nil || len(modules) == 0 {
		t.Fatalf("user-mode Linux came without its modules: %v", err)
	}
	dir := t.TempDir()
	for _, up := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(up, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "bash", "../setup/shim.sh", filepath.Join(dir, "agentctl-shim"), "crashpoints")
	run(t, "go", "test", "-c", "-o", filepath.Join(dir, "runtime.test"), "agentctl/runtime")
	init, err := filepath.Abs("init.sh")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	// What the kernel does not know of its arguments is its init's environment.
	guest := exec.CommandContext(ctx, linux, "mem=1G", "rootfstype=hostfs", "rootflags=/", "ro", "init="+init, "quiet", "con=null", "con0=fd:0,fd:1",
		"ubd0="+disk(t, dir), "umid="+filepath.Base(dir), "uml_dir="+dir, "folder="+dir, "overlay="+modules[0], "tests="+tests, "timeout="+guestPatience)
	guest.WaitDelay = 5 * time.Second
	out, err := guest.CombinedOutput()
	text := string(out)
	if !strings.Contains(text, "the tests ended with 0") {
		t.Fatalf("%v\n%s", err, text)
	}
	proved(t, text)
	for line := range strings.Lines(text) {
		if strings.Contains(line, "works=") || strings.Contains(line, "--- ") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

// disk is an image of zeros, whose use is limited.
func disk(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "disk")
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, 16<<20)); err != nil {
		t.Fatal(err)
	}
	return path
}

// proved checks that each kind of limit was tried: a guest that lacks something skips.
func proved(t *testing.T, text string) {
	t.Helper()
	for _, test := range []string{
		"TestSandboxMemory/the_task", "TestDelegatedCgroup", "TestSandboxDevices", "TestSandboxLimits", "TestSpareGetsTheLimitsOfItsRun",
		"TestSandboxLimitsInTheKernel/kernel_memory", "TestSandboxLimitsInTheKernel/kernel_cpu", "TestSandboxLimitsInTheKernel/kernel_pids",
		"TestSandboxLimitsInTheKernel/kernel_io", "TestSandboxLimitsInTheKernel/kernel_devices",
	} {
		if !strings.Contains(text, "--- PASS: "+test+" ") {
			t.Errorf("%s did not pass", test)
		}
	}
	if t.Failed() || strings.Contains(text, "there is no disk to limit") {
		t.Errorf("the guest said\n%s", text)
	}
}

func run(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%q: %v: %s", args, err, out)
	}
}
