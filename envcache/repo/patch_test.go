package repo

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestIsPatch(t *testing.T) {
	for _, diff := range []string{
		"diff --git a/x b/x\n", "\n\ndiff --git a/x b/x\n", "\uFEFFdiff --git a/x b/x", "diff --cc x\n", "diff -r 0123 x\n",
		"Submodule lib 0123..4567:\n  > more\n", "Submodule lib contains modified content\ndiff --git a/lib/x b/lib/x\n", "submodule x\ndiff --git a/x b/x\n",
		"--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n", "Index: x\n====\n--- x\n+++ x\n@@ -1 +1 @@\n",
	} {
		if !IsPatch(diff) {
			t.Errorf("%q is a patch", diff)
		}
	}
	for _, diff := range []string{
		"", "\n", "import os\n", "diff = 3\nprint(diff)\n", "diff\n", "# diff --git a/x b/x\n", "difference()", "--- \n", "submodule = 1\n", "Submodule\n", "#!/bin/sh\ndiff a b\n",
		"'''\ndiff --git a/x b/x\n'''\n",
	} {
		if IsPatch(diff) {
			t.Errorf("%q is no patch", diff)
		}
	}
}

// base are the files that changes are made to.
func base() map[string]string {
	long := ""
	for i := range 40 {
		long += "line " + strings.Repeat("x", i) + "\n"
	}
	return map[string]string{
		"a.py": "one\ntwo\nthree\n", "long.py": long, "crlf.txt": "a\r\nb\r\nc\r\n", "no-end.txt": "x\ny", "run.sh": "#!/bin/sh\n",
		"bin.dat": "\x00\x01\x02\xff", "dir/old.py": "old\nold\nold\nold\n", "ünï çode.txt": "é\n", "dash.txt": "-- a/x\n++ b/x\n",
	}
}

// What people change, as git diff writes it, arrives as they see it.
func TestUncommittedChanges(t *testing.T) {
	write := func(name, text string) func(*upstream) {
		return func(u *upstream) { u.write(map[string]string{name: text}) }
	}
	for name, tc := range map[string]struct {
		change func(*upstream)
		args   []string // of git diff
		edit   func(diff string) string
	}{
		"changed":           {change: write("a.py", "one\n2\nthree\n")},
		"new":               {change: write("new/file.py", "new\n")},
		"new and empty":     {change: write("new/empty.py", "")},
		"deleted":           {change: func(u *upstream) { u.git("rm", "-q", "a.py") }},
		"renamed":           {change: func(u *upstream) { u.git("mv", "dir/old.py", "moved.py") }, args: []string{"-M"}},
		"renamed, changed":  {change: func(u *upstream) { u.git("mv", "dir/old.py", "m.py"); write("m.py", "old\nold\nnew\nold\n")(u) }, args: []string{"-M"}},
		"copied":            {change: func(u *upstream) { write("c.py", base()["dir/old.py"])(u) }, args: []string{"-C", "--find-copies-harder"}},
		"binary":            {change: write("bin.dat", "\x00\x05\x06"), args: []string{"--binary"}},
		"new binary":        {change: write("new.dat", "\x00\x05\x06"), args: []string{"--binary"}},
		"mode":              {change: func(u *upstream) { _ = os.Chmod(filepath.Join(u.dir, "run.sh"), 0o755) }},
		"CRLF":              {change: write("crlf.txt", "a\r\nB\r\nc\r\n")},
		"CRLF to LF":        {change: write("crlf.txt", "a\nb\nc\n")},
		"no final line end": {change: write("no-end.txt", "x\nz")},
		"final line end":    {change: write("no-end.txt", "x\ny\n")},
		"end lost":          {change: write("a.py", "one\ntwo\nthree")},
		"without context":   {change: write("long.py", strings.Replace(base()["long.py"], "line xxx\n", "new\nlines\n", 1)), args: []string{"-U0"}},
		"added, U0":         {change: write("long.py", "first\n"+base()["long.py"]), args: []string{"-U0"}},
		"many hunks":        {change: write("long.py", "first\n"+strings.Replace(base()["long.py"], "line xxxxxxxxxxxxxxxxxxxxxxxxxx\n", "mid\n", 1)+"last\n")},
		"unicode":           {change: write("ünï çode.txt", "è\n")},
		"like a head":       {change: write("dash.txt", "-- a/y\n++ b/x\n")},
		"linked":            {change: func(u *upstream) { _ = os.Symlink("a.py", filepath.Join(u.dir, "link")) }},
		"trailing blanks":   {change: write("a.py", "one  \ntwo\t\nthree\n")},
		"cut final newline": {change: write("a.py", "one\n2\nthree\n"), edit: func(d string) string { return strings.TrimRight(d, "\n") }},
		"CRLF final cut":    {change: write("crlf.txt", "a\r\nB\r\nc\r\n"), edit: func(d string) string { return strings.TrimSuffix(d, "\n") }},
		"old intent to add": {change: write("dir/n.py", "n\n"), edit: func(string) string {
			return "diff --git a/dir/n.py b/dir/n.py\nindex e69de29..0000000\n--- a/dir/n.py\n+++ b/dir/n.py\n@@ -0,0 +1 @@\n+n\n"
		}},
		"old intent to add, deep": {change: write("x/y/n.py", "n\n"), edit: func(string) string {
			return "diff --git a/x/y/n.py b/x/y/n.py\n--- a/x/y/n.py\n+++ b/x/y/n.py\n@@ -0,0 +1 @@\n+n\n"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newUpstream(t, base())
			src := u.source()
			src.Commit = u.git("rev-parse", "HEAD")
			tc.change(u)
			u.git("add", "-A", "-N")
			cmdArgs := append([]string{"diff", "HEAD"}, tc.args...)
			src.Diff = u.git(cmdArgs...) + "\n"
			if tc.edit != nil {
				src.Diff = tc.edit(src.Diff)
			}
			if !IsPatch(src.Diff) {
				t.Fatalf("no patch:\n%s", src.Diff)
			}
			c := acquire(t, newStore(t, Options{}), src)
			compare(t, u.dir, c.Path)
		})
	}
}

// compare compares two working trees, .git apart.
func compare(t *testing.T, want, got string) {
	t.Helper()
	list := func(dir string) map[string]string {
		all := map[string]string{}
		_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			rel, _ := filepath.Rel(dir, path)
			if err != nil || rel == ".git" {
				return filepath.SkipDir
			}
			info, _ := d.Info()
			switch {
			case d.Type() == os.ModeSymlink:
				all[rel], _ = os.Readlink(path)
			case !d.IsDir():
				data, _ := os.ReadFile(path)
				all[rel] = info.Mode().String()[3:4] + string(data)
			}
			return nil
		})
		return all
	}
	a, b := list(want), list(got)
	for name, text := range a {
		if other, ok := b[name]; !ok || other != text {
			t.Errorf("%s: %q, not %q", name, other, text)
		}
		delete(b, name)
	}
	for name := range b {
		t.Errorf("%s is too much", name)
	}
}

// The commit moved on since the diff was made: lines are found where they are
// now.
func TestShiftedLines(t *testing.T) {
	u := newUpstream(t, base())
	u.write(map[string]string{"long.py": strings.Replace(base()["long.py"], "line xxxxxxxxxxxxxxxxxxxx\n", "changed\n", 1)})
	diff := u.git("diff") + "\n"
	u.write(map[string]string{"long.py": "shift\nshift\nshift\n" + base()["long.py"]})
	src := u.source()
	src.Commit, src.Diff = u.commit("shifted"), diff
	c := acquire(t, newStore(t, Options{}), src)
	if want := strings.Replace("shift\nshift\nshift\n"+base()["long.py"], "line xxxxxxxxxxxxxxxxxxxx\n", "changed\n", 1); read(t, c, "long.py") != want {
		t.Fatalf("got\n%s", read(t, c, "long.py"))
	}
}

func TestAPatchThatDoesNotApplyNamesFileAndHunk(t *testing.T) {
	u := newUpstream(t, base())
	s := newStore(t, Options{})
	src := u.source()
	src.Commit = u.git("rev-parse", "HEAD")
	two := "diff --git a/long.py b/long.py\n--- a/long.py\n+++ b/long.py\n@@ -1,3 +1,3 @@\n line \n-line x\n+new\n line xx\n@@ -10,3 +10,3 @@ def f():\n line xxxxxxxxx\n-not there\n+new\n line xxxxxxxxxxx\n"
	for name, tc := range map[string]struct{ diff, file, hunk string }{
		"second hunk":  {two, "long.py", "hunk 2 of 2 (@@ -10,3 +10,3 @@)"},
		"no such file": {"diff --git a/no.py b/no.py\n--- a/no.py\n+++ b/no.py\n@@ -1 +1 @@\n-a\n+b\n", "no.py", ""},
		"file exists":  {"diff --git a/a.py b/a.py\nnew file mode 100644\n--- /dev/null\n+++ b/a.py\n@@ -0,0 +1 @@\n+b\n", "a.py", ""},
		"binary":       {"diff --git a/bin.dat b/bin.dat\nindex 1111111..2222222 100644\nBinary files a/bin.dat and b/bin.dat differ\n", "bin.dat", ""},
		"cut off":      {"diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1,3 +1,3 @@\n one\n-two\n", "", ""},
		"garbage":      {"diff --git a/a.py b/a.py\n\x00\x01\n", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			src.Diff = tc.diff
			_, err := s.Acquire(t.Context(), src, nil)
			var failed *PatchError
			if !errors.As(err, &failed) || failed.File != tc.file || failed.Hunk != tc.hunk || failed.Git == "" {
				t.Fatalf("%+v, %v", failed, err)
			}
			if !strings.Contains(err.Error(), "uncommitted changes can't be applied") || !strings.Contains(err.Error(), tc.file) {
				t.Fatalf("err = %v", err)
			}
		})
	}
	if left := litter(t, s); left != nil {
		t.Fatalf("left over: %v", left)
	}
}

// A patch writes inside the working tree, and not into .git.
func TestHostilePatches(t *testing.T) {
	canary := filepath.Join(newState(t), "canary")
	u := newUpstream(t, map[string]string{"a.py": "one\n"})
	if err := os.Symlink(filepath.Dir(canary), filepath.Join(u.dir, "out")); err != nil {
		t.Fatal(err)
	}
	src := u.source()
	src.Commit = u.commit("with a link")
	s := newStore(t, Options{})
	add := func(name string) string {
		return "diff --git a/" + name + " b/" + name + "\nnew file mode 100755\n--- /dev/null\n+++ b/" + name + "\n@@ -0,0 +1 @@\n+evil\n"
	}
	for name, diff := range map[string]string{
		"up":            add("../canary"),
		"far up":        add("../../../../../../../../../.." + canary),
		"absolute":      add(canary),
		"through link":  add("out/canary"),
		"own link":      "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+" + filepath.Dir(canary) + "\n\\ No newline at end of file\n" + add("l/canary"),
		"hook":          add(".git/hooks/post-checkout"),
		"config":        add(".git/config2"),
		"config, case":  add(".GIT/config2"),
		"prepared":      "diff --git a/.git/x b/.git/x\n--- a/.git/x\n+++ b/.git/x\n@@ -0,0 +1 @@\n+evil\n",
		"prepared up":   "diff --git a/../canary b/../canary\n--- a/../canary\n+++ b/../canary\n@@ -0,0 +1 @@\n+evil\n",
		"prepared link": "diff --git a/out/canary b/out/canary\n--- a/out/canary\n+++ b/out/canary\n@@ -0,0 +1 @@\n+evil\n",
	} {
		t.Run(name, func(t *testing.T) {
			src.Diff = diff
			c, err := s.Acquire(t.Context(), src, nil)
			if err == nil {
				defer c.Close()
				for _, f := range []string{".git/hooks/post-checkout", ".git/config2", ".git/x"} {
					if there(c, f) {
						t.Errorf("%s was written", f)
					}
				}
			}
			if _, serr := os.Lstat(canary); serr == nil {
				t.Fatalf("the patch wrote outside, err = %v", err)
			}
			if err == nil && name != "config, case" {
				t.Error("the patch was taken")
			}
		})
	}
}

func FuzzPatch(f *testing.F) {
	f.Add("diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1 @@\n-a\n-- a/y\n+b\n")
	f.Add("--- \"a/\\303\\251\"\t2020\n+++ b/x\n@@ -1 +1 @@\n\\ No newline\n")
	f.Fuzz(func(_ *testing.T, diff string) {
		_ = IsPatch(diff)
		for _, p := range parsePatch(diff) {
			for _, h := range p.hunks {
				_ = explainPatch(diff, []string{"error: patch failed: " + p.old + ":1", h})
			}
		}
	})
}
