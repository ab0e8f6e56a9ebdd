package quota

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// disk is the root of a file system with project quotas: one that a guest of test/vm was
// started with, else one of a file.
func disk(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("AGENTCTL_TEST_QUOTA"); dir != "" {
		return dir
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can mount a small disk")
	}
	file, dir := filepath.Join(t.TempDir(), "disk"), t.TempDir()
	for _, args := range [][]string{
		{"truncate", "-s", "24M", file},
		{"env", "PATH=/usr/sbin:/sbin:/usr/bin:/bin", "mkfs.ext4", "-q", "-O", "quota,project", "-E", "quotatype=prjquota", file},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
	if out, err := exec.Command("mount", "-o", "loop,prjquota", file, dir).CombinedOutput(); err != nil {
		t.Skipf("the kernel has no project quotas: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// folders makes folders of one owner that everybody may write.
func folders(t *testing.T, owner string, names ...string) (paths []string) {
	t.Helper()
	for _, name := range names {
		path := filepath.Join(owner, name)
		must(t, os.MkdirAll(path, 0o755))
		must(t, os.Chmod(path, 0o777))
		paths = append(paths, path)
	}
	return paths
}

// write writes as somebody whom limits bind, and tells how many bytes there are then.
func write(t *testing.T, file string, kib string) int64 {
	t.Helper()
	cmd := exec.Command("dd", "if=/dev/zero", "of="+file, "bs=1k", "conv=fsync", "count="+kib)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	info, serr := os.Stat(file)
	if serr != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return info.Size()
}

func TestLimit(t *testing.T) {
	root := disk(t)
	must(t, os.Chmod(root, 0o755))
	base := filepath.Join(root, "state")
	must(t, os.Mkdir(base, 0o755))
	l := New(base)
	must(t, l.Available())
	a := folders(t, base+"/a", "home", "upper")
	must(t, l.Limit(1<<20, a...))
	b := folders(t, base+"/b", "home")
	must(t, l.Limit(1<<20, b...))
	if n := write(t, a[0]+"/x", "700"); n != 700<<10 {
		t.Errorf("%d bytes within the limit", n)
	}
	must(t, os.Mkdir(a[1]+"/below", 0o755))
	must(t, os.Chmod(a[1]+"/below", 0o777))
	if n := write(t, a[1]+"/below/x", "700"); n > 400<<10 || n < 100<<10 {
		t.Errorf("%d bytes beside 700 KiB, of 1 MiB in all", n)
	}
	if n := write(t, b[0]+"/x", "900"); n != 900<<10 {
		t.Errorf("%d bytes of another owner", n)
	}
	over(t, l, base)

	// What is asked for again, by an agent after one that died, has what it had.
	must(t, os.Remove(b[0]+"/x"))
	before := New(base)
	must(t, before.load())
	must(t, before.Limit(2<<20, b...))
	if n := write(t, b[0]+"/x", "1900"); n != 1900<<10 || len(before.held) != 3 {
		t.Errorf("%d bytes, %v", n, before.held)
	}
	if err := before.Limit(1<<20, folders(t, base+"/b", "home", "other")...); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("a folder with files: %v", err)
	}

	for _, owner := range []string{"a", "b", "c"} {
		must(t, os.RemoveAll(filepath.Join(base, owner)))
	}
	must(t, before.Sweep())
	after := New(base)
	must(t, after.load())
	if len(after.held) != 0 {
		t.Errorf("kept: %v", after.held)
	}
	dir, err := os.Open(base)
	must(t, err)
	defer dir.Close()
	for id := range l.held {
		free := func() bool { // XFS forgets what was removed a moment later
			taken, err := used(dir, id)
			must(t, err)
			return !taken
		}
		for deadline := time.Now().Add(time.Minute); !free(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("project %#x has still files or a limit", id)
			}
		}
	}
}

// over writes through an overlay whose upper folder is limited.
func over(t *testing.T, l *Ledger, base string) {
	t.Helper()
	c := folders(t, base+"/c", "upper")
	must(t, l.Limit(1<<20, c...))
	for _, name := range []string{"lower", "upper/upper", "upper/work", "view"} {
		must(t, os.Mkdir(filepath.Join(base, "c", name), 0o755))
	}
	must(t, os.WriteFile(base+"/c/lower/x", make([]byte, 600<<10), 0o666))
	must(t, os.Chmod(base+"/c/lower/x", 0o666))
	must(t, os.Chmod(c[0]+"/upper", 0o777))
	view := base + "/c/view"
	must(t, unix.Mount("overlay", view, "overlay", 0, "lowerdir="+base+"/c/lower,upperdir="+c[0]+"/upper,workdir="+c[0]+"/work"))
	defer func() { must(t, unix.Unmount(view, 0)) }()
	f, err := os.OpenFile(view+"/x", os.O_WRONLY|os.O_APPEND, 0) // copied up
	must(t, err)
	must(t, f.Close())
	if n := write(t, view+"/y", "800"); n > 500<<10 || n < 100<<10 {
		t.Errorf("%d bytes beside 600 KiB that were copied up, of 1 MiB in all", n)
	}
}

func TestUnavailable(t *testing.T) {
	l := New("/dev/shm")
	if err := l.Limit(1<<20, t.TempDir()); !errors.Is(err, errNone) && os.Geteuid() == 0 || err == nil {
		t.Errorf("memory is limited: %v", err)
	}
	must(t, l.Sweep())
	if exists("/dev/shm/" + ledgerFile) {
		t.Error("it writes down what it did not do")
	}
}

func TestLayouts(t *testing.T) {
	if unsafe.Sizeof(fsXattr{}) != 28 || unsafe.Sizeof(diskQuota{}) != 112 {
		t.Errorf("%d and %d bytes, the kernel's have 28 and 112", unsafe.Sizeof(fsXattr{}), unsafe.Sizeof(diskQuota{}))
	}
}
