package vm

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Limits of what is written, by the quotas of ext4 and, where this host can make one, of
// an XFS.
func TestProjectQuotas(t *testing.T) {
	linux, err := exec.LookPath("linux.uml")
	if err != nil {
		t.Skip("there is no user-mode Linux: Debian has it in the package user-mode-linux")
	}
	modules, err := filepath.Glob("/usr/lib/uml/modules/*/kernel")
	if err != nil || len(modules) == 0 {
		t.Fatalf("user-mode Linux came without its modules: %v", err)
	}
	dir := t.TempDir()
	for _, up := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(up, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "go", "test", "-c", "-o", filepath.Join(dir, "quota.test"), "agentctl/internal/quota")
	ext4, xfs, disks := filepath.Join(dir, "ext4"), filepath.Join(dir, "xfs"), "ext4-ubda"
	run(t, "truncate", "-s", "24M", ext4)
	run(t, "env", "PATH=/usr/sbin:/sbin:/usr/bin:/bin", "mkfs.ext4", "-q", "-O", "quota,project", "-E", "quotatype=prjquota", ext4)
	args := []string{"ubd0=" + ext4}
	if mkfs, err := exec.LookPath("mkfs.xfs"); err == nil {
		run(t, "truncate", "-s", "320M", xfs)
		run(t, mkfs, "-q", xfs)
		args, disks = append(args, "ubd1="+xfs), disks+",xfs-ubdb"
	}
	init, err := filepath.Abs("quota.sh")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	args = append(args, "mem=512M", "rootfstype=hostfs", "rootflags=/", "ro", "init="+init, "quiet", "con=null", "con0=fd:0,fd:1",
		"umid="+filepath.Base(dir), "uml_dir="+dir, "folder="+dir, "modules="+modules[0], "disks="+disks, "timeout="+guestPatience)
	guest := exec.CommandContext(ctx, linux, args...)
	guest.WaitDelay = 5 * time.Second
	out, err := guest.CombinedOutput()
	text := string(out)
	for disk := range strings.SplitSeq(disks, ",") {
		if !strings.Contains(text, "the tests on "+disk+" ended with 0") {
			t.Errorf("%s: %v", disk, err)
		}
	}
	if t.Failed() || strings.Count(text, "--- PASS: TestLimit ") != strings.Count(disks, "-") {
		t.Errorf("%s", text)
	}
}
