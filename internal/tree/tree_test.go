package tree

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// plant makes a tree with all that a tree may hold.
func plant(t *testing.T) string {
	t.Helper()
	top := filepath.Join(t.TempDir(), "top")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(top, "a", "b"), 0o755))
	must(os.WriteFile(filepath.Join(top, "a", "f"), []byte("hello"), 0o640))
	must(os.WriteFile(filepath.Join(top, "run"), []byte("#!/bin/sh"), 0o700))
	must(os.Symlink("/etc/passwd", filepath.Join(top, "out")))
	must(os.Symlink("a/f", filepath.Join(top, "in")))
	must(os.Link(filepath.Join(top, "a", "f"), filepath.Join(top, "a", "b", "same")))
	must(syscall.Mkfifo(filepath.Join(top, "fifo"), 0o600))
	must(os.WriteFile(filepath.Join(top, "odd\xff\n name"), nil, 0o600))
	old := time.Unix(1_000_000_000, 0)
	must(os.Chtimes(filepath.Join(top, "run"), old, old))
	must(os.Chmod(filepath.Join(top, "a", "b"), 0o555))
	t.Cleanup(func() { _ = Remove(top) })
	return top
}

func TestWalkVisitsInOrderAndFollowsNothing(t *testing.T) {
	top := plant(t)
	var seen []string
	err := Walk(top, func(n Node) error {
		seen = append(seen, n.Rel)
		return nil
	}, func(n Node) error {
		seen = append(seen, "/"+n.Rel)
		return nil
	})
	want := []string{".", "a", "a/b", "a/b/same", "/a/b", "a/f", "/a", "fifo", "in", "odd\xff\n name", "out", "run", "/."}
	if err != nil || !slices.Equal(seen, want) {
		t.Fatalf("seen %q, %v", seen, err)
	}
}

func TestOpenRefusesLinksAndHangsOnNothing(t *testing.T) {
	top := plant(t)
	_ = Walk(top, func(n Node) error {
		f, err := n.Open()
		if err == nil {
			_ = f.Close()
		}
		if got := err == nil; got != n.Info.Mode().IsRegular() {
			t.Errorf("%s: open = %v", n.Rel, err)
		}
		return nil
	}, nil)
}

func TestCopyIsTheSameAndSharesNothing(t *testing.T) {
	top := plant(t)
	dst := filepath.Join(t.TempDir(), "copy")
	if err := Copy(t.Context(), top, dst, -1, -1, func(rel string) bool { return rel == "in" }); err != nil {
		t.Fatal(err)
	}
	var seen []string
	_ = Walk(dst, func(n Node) error {
		seen = append(seen, n.Rel)
		src, err := os.Lstat(filepath.Join(top, n.Rel))
		if err != nil {
			t.Fatal(err)
		}
		if src.Mode() != n.Info.Mode() || n.Info.Mode().IsRegular() && (src.Size() != n.Info.Size() || !src.ModTime().Equal(n.Info.ModTime())) {
			t.Errorf("%s: %v %v, was %v %v", n.Rel, n.Info.Mode(), n.Info.ModTime(), src.Mode(), src.ModTime())
		}
		if os.SameFile(src, n.Info) || Shared(n.Info) {
			t.Errorf("%s shares its bytes", n.Rel)
		}
		return nil
	}, nil)
	want := []string{".", "a", "a/b", "a/b/same", "a/f", "odd\xff\n name", "out", "run"}
	if !slices.Equal(seen, want) {
		t.Fatalf("copied %q", seen)
	}
	if err := Copy(t.Context(), top, dst, -1, -1, nil); !errors.Is(err, fs.ErrExist) {
		t.Fatalf("copied over a folder: %v", err)
	}
	_ = Remove(dst)
}

func TestPublishMakesReadableAndLeavesSharedFilesAlone(t *testing.T) {
	top := plant(t)
	if err := Publish(top, -1, -1); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{"a/b": 0o755, "a": 0o755, "run": 0o755, "a/f": 0o640, "odd\xff\n name": 0o644} {
		if info, err := os.Stat(filepath.Join(top, name)); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
}

func TestPublishGivesAway(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	top := plant(t)
	canary, err := os.Stat("/etc/passwd")
	if err != nil {
		t.Fatal(err)
	}
	if err := Publish(top, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	_ = Walk(top, func(n Node) error {
		st := n.Info.Sys().(*syscall.Stat_t)
		if given := st.Uid == 65534; given == (Shared(n.Info) || n.Rel == "fifo") {
			t.Errorf("%s belongs to %d", n.Rel, st.Uid)
		}
		return nil
	}, nil)
	now, err := os.Stat("/etc/passwd")
	if err != nil || now.Sys().(*syscall.Stat_t).Uid != canary.Sys().(*syscall.Stat_t).Uid || now.Mode() != canary.Mode() {
		t.Fatalf("a file outside was changed: %v", err)
	}
}

func TestTooDeepIsAnErrorNotACrash(t *testing.T) {
	top := filepath.Join(t.TempDir(), "deep")
	if err := os.MkdirAll(filepath.Join(top, strings.Repeat("d/", deepest+2)), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Walk(top, func(Node) error { return nil }, nil); err == nil || !strings.Contains(err.Error(), "too deeply") {
		t.Fatalf("err = %v", err)
	}
}

// A file is opened by its path within the tree only: no link, no way out, no FIFO.
func TestFilesOpenWithinTheTree(t *testing.T) {
	top, outside := t.TempDir(), t.TempDir()
	for _, err := range []error{
		os.MkdirAll(filepath.Join(top, "a", "b"), 0o755),
		os.WriteFile(filepath.Join(top, "a", "b", "file"), []byte("inside"), 0o600),
		os.WriteFile(filepath.Join(outside, "file"), []byte("outside"), 0o600),
		os.Symlink(outside, filepath.Join(top, "folder")),
		os.Symlink("b/file", filepath.Join(top, "a", "link")),
		syscall.Mkfifo(filepath.Join(top, "fifo"), 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	files, err := OpenFiles(top)
	if err != nil {
		t.Fatal(err)
	}
	defer files.Close()
	for name, open := range map[string]func(string) (*os.File, error){"openat2": files.Open, "an old kernel": files.openSlowly} {
		f, err := open("a/b/file")
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		data, err := io.ReadAll(f)
		if _ = f.Close(); err != nil || string(data) != "inside" {
			t.Errorf("%s: read %q, %v", name, data, err)
		}
		for _, bad := range []string{"folder/file", "a/link", "../" + filepath.Base(outside) + "/file", outside + "/file", "fifo", "a", "none"} {
			if f, err := open(bad); err == nil {
				_ = f.Close()
				t.Errorf("%s: opened %s", name, bad)
			}
		}
	}
	if _, err := OpenFiles(filepath.Join(top, "folder")); err == nil {
		t.Error("a link was taken for a tree")
	}
}
