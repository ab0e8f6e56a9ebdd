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
		script   clearml.Script
		want     command
		argv     string
		optimize int
		err      string
	}{
		"file":             {script: clearml.Script{EntryPoint: "train.py"}, want: command{File: "train.py", Dir: "."}, argv: "py -u train.py"},
		"arguments":        {script: clearml.Script{EntryPoint: "train.py --lr '0 1'", WorkingDir: "src"}, want: command{File: "train.py", Whole: "train.py --lr '0 1'", Args: []string{"--lr", "0 1"}, Dir: "src"}, argv: "py -u train.py --lr 0 1"},
		"no comment":       {script: clearml.Script{EntryPoint: `train.py --tag #1 --to a\ b "#x y" #`}, want: command{File: "train.py", Args: []string{"--tag", "#1", "--to", "a b", "#x y", "#"}, Dir: ".", Whole: `train.py --tag #1 --to a\ b "#x y" #`}, argv: "py -u train.py --tag #1 --to a b #x y #"},
		"module":           {script: clearml.Script{EntryPoint: "-m pkg.train --x 1"}, want: command{Module: "pkg.train", Whole: "-m pkg.train --x 1", Args: []string{"--x", "1"}, Dir: "."}, argv: "py -u -m pkg.train --x 1"},
		"entry:dir":        {script: clearml.Script{EntryPoint: "train.py:sub/dir"}, want: command{File: "train.py", Dir: "sub/dir"}, argv: "py -u train.py"},
		"literal":          {script: clearml.Script{Diff: "print(1)\n"}, want: command{File: "untitled.py", Dir: ".", Literal: "print(1)\n", LiteralFile: "untitled.py"}, argv: "py -u untitled.py"},
		"literal, named":   {script: clearml.Script{Diff: "print(1)\n", EntryPoint: "a.py"}, want: command{File: "a.py", Dir: ".", Literal: "print(1)\n", LiteralFile: "a.py"}, argv: "py -u a.py"},
		"shell":            {script: clearml.Script{Binary: "/usr/bin/bash", Diff: "echo 1\n"}, want: command{File: "untitled.sh", Dir: ".", Literal: "echo 1\n", LiteralFile: "untitled.sh", Shell: "bash"}, argv: "py untitled.sh"},
		"patch":            {script: clearml.Script{Diff: patch, EntryPoint: "a.py"}, want: command{File: "a.py", Dir: "."}, argv: "py -u a.py"},
		"nothing":          {script: clearml.Script{}, err: "no entry point"},
		"no module":        {script: clearml.Script{EntryPoint: "-m"}, err: "names no module"},
		"option":           {script: clearml.Script{EntryPoint: "-X dev x.py"}, err: "begins with an option"},
		"outside":          {script: clearml.Script{EntryPoint: "../../etc/x.py"}, err: "leads out of its folder"},
		"absolute":         {script: clearml.Script{EntryPoint: "/etc/x.py", WorkingDir: ".."}, err: "leads out of its folder"},
		"outside by dir":   {script: clearml.Script{EntryPoint: "x.py", WorkingDir: "a/../../b"}, err: "leads out of its folder"},
		"open quote":       {script: clearml.Script{EntryPoint: "x.py 'a"}, err: "cannot read the entry point"},
		"NUL":              {script: clearml.Script{EntryPoint: "x\x00.py"}, err: "zero byte"},
		"optimized":        {script: clearml.Script{EntryPoint: "a.py", Binary: "/usr/bin/python3.11 -u"}, optimize: 2, want: command{File: "a.py", Dir: "."}, argv: "py -u -OO a.py"},
		"other binary":     {script: clearml.Script{EntryPoint: "a.py", Binary: "/opt/torchrun --x"}, want: command{File: "a.py", Dir: ".", Binary: "torchrun"}, argv: "py -u a.py"},
		"module:dir":       {script: clearml.Script{EntryPoint: "-m pkg.train:sub"}, want: command{Module: "pkg.train", Whole: "-m pkg.train", Dir: "sub"}, argv: "py -u -m pkg.train"},
		"module and text":  {script: clearml.Script{EntryPoint: "-m pkg", WorkingDir: "src:lib.py", Diff: "x = 1"}, want: command{Module: "pkg", Whole: "-m pkg", Dir: "src", Literal: "x = 1", LiteralFile: "lib.py"}, argv: "py -u -m pkg"},
		"python -c":        {script: clearml.Script{EntryPoint: `-c "print('a b')" x`}, want: command{Code: "print('a b')", Args: []string{"x"}, Dir: "."}, argv: "py -u -c print('a b') x"},
		"bash -c":          {script: clearml.Script{EntryPoint: "-c echo $A; ls | wc", Binary: "bash"}, want: command{Code: "echo $A; ls | wc", Dir: ".", Shell: "bash"}, argv: "py -c echo $A; ls | wc"},
		"bash -c, quoted":  {script: clearml.Script{EntryPoint: `-c 'echo "$1"' zero one`, Binary: "/bin/zsh"}, want: command{Code: `echo "$1"`, Args: []string{"zero", "one"}, Dir: ".", Shell: "zsh"}, argv: `py -c echo "$1" zero one`},
		"-c of nothing":    {script: clearml.Script{EntryPoint: "-c ''", Binary: "bash"}, err: "has no text"},
		"shell, arguments": {script: clearml.Script{EntryPoint: "run.sh a 'b c'", Binary: "sh"}, want: command{File: "run.sh", Whole: "run.sh a 'b c'", Args: []string{"a", "b c"}, Dir: ".", Shell: "sh"}, argv: "py run.sh a b c"},
		"shell module":     {script: clearml.Script{EntryPoint: "-m pkg", Binary: "sh"}, err: "a module of Python"},
		"of the image":     {script: clearml.Script{EntryPoint: "train.py", WorkingDir: "/opt/app/"}, want: command{File: "train.py", Dir: "/opt/app"}, argv: "py -u train.py"},
		"of the image too": {script: clearml.Script{EntryPoint: "/opt/app/train.py"}, want: command{File: "/opt/app/train.py", Dir: "."}, argv: "py -u /opt/app/train.py"},
		"text of a folder": {script: clearml.Script{EntryPoint: "a.py", WorkingDir: "/home/me", Diff: "x = 1"}, want: command{File: "a.py", Dir: ".", Literal: "x = 1", LiteralFile: "a.py"}, argv: "py -u a.py"},
		"outside by text":  {script: clearml.Script{EntryPoint: "../a.py", Diff: "x = 1"}, err: "leads out of its folder"},
		"whole path":       {script: clearml.Script{EntryPoint: "/etc/a.py", Diff: "x = 1"}, want: command{File: "a.py", Dir: ".", Literal: "x = 1", LiteralFile: "a.py"}, argv: "py -u a.py"},
		"outside by both":  {script: clearml.Script{EntryPoint: "x.py:../.."}, err: "leads out of its folder"},
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
			if argv := strings.Join(got.argv("py", tc.optimize), " "); argv != tc.argv {
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
		for _, file := range []string{c.File, c.LiteralFile} {
			whole := c.Literal == "" && (filepath.IsAbs(c.Dir) || filepath.IsAbs(file))
			if name, inside := c.at(file); file != "" && !inside && !whole || inside && !filepath.IsLocal(name) {
				t.Errorf("%q in %q leads out of the code", file, c.Dir)
			}
		}
		if len(c.argv("py", 0)) < 2 {
			t.Errorf("command of %q has no script", entry)
		}
	})
}

func TestLiteralStaysInside(t *testing.T) {
	root, out := t.TempDir(), t.TempDir()
	if err := os.Symlink(out, filepath.Join(root, "link")); err != nil {
		t.Fatal(err)
	}
	if err := writeScript(root, "link/x.py", "print(1)", identity{UID: -1}); err == nil {
		t.Error("a script was written through a link that leads out")
	}
	if _, err := os.Stat(filepath.Join(out, "x.py")); err == nil {
		t.Error("the file outside exists")
	}
	if err := writeScript(root, "a/b/sub/x.py", "print(1)", identity{UID: -1}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(root, "a/b/sub/x.py"))
	if err != nil || string(got) != "print(1)" {
		t.Errorf("script %q, %v", got, err)
	}
}

// TestCommandSettles: blanks are those of a file's name if there is such a file.
func TestCommandSettles(t *testing.T) {
	c, err := parseScript(clearml.Script{EntryPoint: "my dir/train.py --x", WorkingDir: "src"})
	if err != nil {
		t.Fatal(err)
	}
	same := c
	if same.settle(func(string) bool { return false }); same.File != "my" {
		t.Errorf("%+v", same)
	}
	if c.settle(func(name string) bool { return name == "src/my dir/train.py --x" }); c.File != "my dir/train.py --x" || c.Args != nil {
		t.Errorf("%+v", c)
	}
}

// TestCommandExpands: the variables of a module's arguments are the task's, but for its
// login.
func TestCommandExpands(t *testing.T) {
	for entry, want := range map[string]string{
		"-m pkg --a $A --b ${B_1}x --c $NONE '$A'": "pkg|--a|x|y|--b|2x|--c|$NONE|x y",
		"-m $MODULE $" + tokenVar:                  "pkg.main|$" + tokenVar,
		"-m pkg $ ${ $$A":                          "pkg|$|${|$x|y",
	} {
		c, err := parseScript(clearml.Script{EntryPoint: entry})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.expand([]string{"A=x y", "B_1=2", "MODULE=pkg.main", tokenVar + "=secret"}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(append([]string{c.Module}, c.Args...), "|"); got != want {
			t.Errorf("%s: %s, want %s", entry, got, want)
		}
	}
	c := command{File: "a.py", Whole: "a.py $A", Args: []string{"$A"}}
	if err := c.expand([]string{"A=x"}); err != nil || c.Args[0] != "$A" {
		t.Errorf("%v, %v", c.Args, err)
	}
	c = command{Module: "m", Whole: "-m m $A"}
	if err := c.expand([]string{"A='"}); err == nil {
		t.Error("an open quote is accepted")
	}
}

// TestTranslate: a notebook is run as the program beside it that nbconvert would write,
// unless there is a module of that name; a script as the SDK stored it is left alone.
func TestTranslate(t *testing.T) {
	const book = `{"cells": [{"cell_type": "code", "source": "x = 1"}]}`
	const converted = "# coding: utf-8\n\n# In[ ]:\n\nx = 1\n"
	for name, tc := range map[string]struct {
		script     clearml.Script
		text, file string
		there      string
		want       string
		changed    bool
	}{
		"notebook":        {script: clearml.Script{EntryPoint: "a.ipynb"}, text: book, file: "a.py", want: converted, changed: true},
		"beside a module": {script: clearml.Script{EntryPoint: "a.ipynb", WorkingDir: "nb"}, text: book, there: "nb/a.py", file: "a.ipynb.py", want: converted, changed: true},
		"text of one":     {script: clearml.Script{EntryPoint: "a.ipynb", Diff: "x = 2\n"}, text: "x = 2\n", file: "a.py", want: "x = 2\n", changed: true},
		"one as the text": {script: clearml.Script{EntryPoint: "a.ipynb", Diff: book}, text: book, file: "a.py", want: converted, changed: true},
		"script":          {script: clearml.Script{EntryPoint: "a.py"}, text: "x = 1", file: "a.py", want: "x = 1"},
		"shell":           {script: clearml.Script{EntryPoint: "a.ipynb", Binary: "sh"}, text: "ls", file: "a.ipynb", want: "ls"},
		"before __future__": {script: clearml.Script{EntryPoint: "a.py"}, text: "from clearml import Task\nTask.init()\nfrom __future__ import annotations\n", file: "a.py",
			want: "from __future__ import annotations\nfrom clearml import Task\nTask.init()\n", changed: true},
	} {
		c, err := parseScript(tc.script)
		if err != nil {
			t.Fatal(err)
		}
		got, changed, _, err := c.translate(tc.text, func(name string) bool { return name == tc.there })
		if err != nil || got != tc.want || changed != tc.changed || c.File != tc.file {
			t.Errorf("%s: %q is run, changed %v, %v:\n%s", name, c.File, changed, err, got)
		}
	}
}
