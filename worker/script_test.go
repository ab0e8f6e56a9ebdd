package worker

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"agentctl/clearml"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestParseScript(t *testing.T) {
	patch := "diff --git a/x b/x\n"
	for name, tc := range map[string]struct {
		script clearml.Script
		want   command
		argv   string
		err    string
	}{
		"file":            {script: clearml.Script{EntryPoint: "train.py"}, want: command{File: "train.py", Dir: "."}, argv: "py -u train.py"},
		"arguments":       {script: clearml.Script{EntryPoint: "train.py --lr '0 1'", WorkingDir: "src"}, want: command{File: "train.py", Args: []string{"--lr", "0 1"}, Dir: "src"}, argv: "py -u train.py --lr 0 1"},
		"no comment":      {script: clearml.Script{EntryPoint: `train.py --tag #1 --to a\ b "#x y" #`}, want: command{File: "train.py", Args: []string{"--tag", "#1", "--to", "a b", "#x y", "#"}, Dir: "."}, argv: "py -u train.py --tag #1 --to a b #x y #"},
		"module":          {script: clearml.Script{EntryPoint: "-m pkg.train --x 1"}, want: command{Module: "pkg.train", Args: []string{"--x", "1"}, Dir: "."}, argv: "py -u -m pkg.train --x 1"},
		"entry:dir":       {script: clearml.Script{EntryPoint: "train.py:sub/dir"}, want: command{File: "train.py", Dir: "sub/dir"}, argv: "py -u train.py"},
		"literal":         {script: clearml.Script{Diff: "print(1)\n"}, want: command{File: "untitled.py", Dir: ".", Literal: "print(1)\n"}, argv: "py -u untitled.py"},
		"literal, named":  {script: clearml.Script{Diff: "print(1)\n", EntryPoint: "a.py"}, want: command{File: "a.py", Dir: ".", Literal: "print(1)\n"}, argv: "py -u a.py"},
		"shell":           {script: clearml.Script{Binary: "/usr/bin/bash", Diff: "echo 1\n"}, want: command{File: "untitled.sh", Dir: ".", Literal: "echo 1\n", Shell: "bash"}, argv: "/bin/bash untitled.sh"},
		"patch":           {script: clearml.Script{Diff: patch, EntryPoint: "a.py"}, want: command{File: "a.py", Dir: "."}, argv: "py -u a.py"},
		"nothing":         {script: clearml.Script{}, err: "no entry point"},
		"no module":       {script: clearml.Script{EntryPoint: "-m"}, err: "names no module"},
		"option":          {script: clearml.Script{EntryPoint: "-c 'import os'"}, err: "begins with an option"},
		"outside":         {script: clearml.Script{EntryPoint: "../../etc/x.py"}, err: "leads out of its folder"},
		"absolute":        {script: clearml.Script{EntryPoint: "/etc/x.py", WorkingDir: ".."}, err: "leads out of its folder"},
		"outside by dir":  {script: clearml.Script{EntryPoint: "x.py", WorkingDir: "a/../../b"}, err: "leads out of its folder"},
		"open quote":      {script: clearml.Script{EntryPoint: "x.py 'a"}, err: "cannot read the entry point"},
		"NUL":             {script: clearml.Script{EntryPoint: "x\x00.py"}, err: "leads out of its folder"},
		"outside by both": {script: clearml.Script{EntryPoint: "x.py:../.."}, err: "leads out of its folder"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseScript(tc.script)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("error %v, want one with %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); d != "" {
				t.Error(d)
			}
			if argv := strings.Join(got.argv("py"), " "); argv != tc.argv {
				t.Errorf("argv %q, want %q", argv, tc.argv)
			}
		})
	}
}

func FuzzParseScript(f *testing.F) {
	f.Add("train.py --x 1", "src", "", "python3")
	f.Add("-m a.b", "", "print(1)", "bash")
	f.Add("x.py:../..", "", "", "")
	f.Fuzz(func(t *testing.T, entry, dir, diff, binary string) {
		c, err := parseScript(clearml.Script{EntryPoint: entry, WorkingDir: dir, Diff: diff, Binary: binary})
		if err != nil {
			return
		}
		if c.Module == "" && !filepath.IsLocal(filepath.Join(c.Dir, c.File)) {
			t.Errorf("%q in %q leads out of the code", c.File, c.Dir)
		}
		if len(c.argv("py")) < 2 {
			t.Errorf("command of %q has no script", entry)
		}
	})
}

func TestLiteralStaysInside(t *testing.T) {
	root, out := t.TempDir(), t.TempDir()
	if err := os.Symlink(out, filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	c := command{File: "x.py", Dir: "link", Literal: "print(1)"}
	if err := c.writeLiteral(root, identity{UID: -1}); err == nil {
		t.Error("a script was written through a link that leads out")
	}
	if _, err := os.Stat(filepath.Join(out, "x.py")); err == nil {
		t.Error("the file outside exists")
	}
	c = command{File: "sub/x.py", Dir: "a/b", Literal: "print(1)"}
	if err := c.writeLiteral(root, identity{UID: -1}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, "a/b/sub/x.py"))
	if err != nil || string(got) != "print(1)" {
		t.Errorf("script %q, %v", got, err)
	}
}
