package relocate

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const old = "/var/lib/state/envs/0123456789abcdef0123456789abcdef"

// places are shorter and longer than the old one, and as long.
var places = []string{"/s/e", "/var/lib/other/envs/0123456789abcdef0123456789abcdef", old[:len(old)-1] + "e", "/a/very/long/path" + strings.Repeat("/x", 60)}

func plant(t *testing.T, files map[string]string) string {
	t.Helper()
	top := t.TempDir()
	for name, text := range files {
		path := filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return top
}

func read(t *testing.T, top, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(top, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// placeholder is as long as conda makes them.
var placeholder = "/opt/" + strings.Repeat("placehold_", 25)

// installed is what conda makes of a string with the placeholder in a program.
func installed(text, prefix string) string {
	n := strings.Count(text, placeholder)
	return strings.ReplaceAll(text, placeholder, prefix) + "\x00" + strings.Repeat("\x00", n*(len(placeholder)-len(prefix)))
}

func program(prefix string) string {
	return "\x7fELF\x00\x01" + installed("", prefix) + installed(placeholder+"/lib/python3.11", prefix) + "next\x00" +
		installed("PATH="+placeholder+"/bin:"+placeholder+"/sbin:/bin", prefix) + "\x02\x03" + installed(placeholder, prefix) + "end"
}

func condaFiles(prefix string) map[string]string {
	meta := fmt.Sprintf(`{"name":"p","paths_data":{"paths":[
		{"_path":"bin/p","prefix_placeholder":%q,"file_mode":"binary"},
		{"_path":"etc/p.conf","prefix_placeholder":%[1]q,"file_mode":"text"},
		{"_path":"etc/odd.conf","prefix_placeholder":%[1]q,"file_mode":"text"},
		{"_path":"etc/plain","prefix_placeholder":%[1]q,"file_mode":"binary"},
		{"_path":"bin/other"}]}}`, placeholder)
	return map[string]string{
		"conda-meta/p-1-0.json": meta, "conda-meta/history": "==> " + prefix + "\n",
		"bin/p": program(prefix), "bin/other": "\x7fELF\x00", "etc/p.conf": "home=" + prefix + "/x\n",
		"etc/odd.conf": "a\x00b " + prefix + "\n", "etc/plain": prefix + "\n",
	}
}

func TestCondaFilesMove(t *testing.T) {
	for _, place := range places {
		if len(place) > len(placeholder) {
			t.Fatalf("%s is no place for this test", place)
		}
		top := plant(t, condaFiles(old))
		if _, err := Tree(t.Context(), top, Move{Old: old, New: place}); err != nil {
			t.Fatal(err)
		}
		for name, want := range condaFiles(place) {
			if got := read(t, top, name); got != want {
				t.Errorf("%s for %s:\n%q, want\n%q", name, place, got, want)
			}
		}
		// And back, from whatever length.
		if _, err := Tree(t.Context(), top, Move{Old: place, New: old}); err != nil {
			t.Fatal(err)
		}
		if got := read(t, top, "bin/p"); got != program(old) {
			t.Errorf("back from %s: %q", place, got)
		}
	}
}

func TestTooLongForAPlaceholder(t *testing.T) {
	top := plant(t, condaFiles(old))
	_, err := Tree(t.Context(), top, Move{Old: old, New: "/" + strings.Repeat("x", len(placeholder))})
	var fixed *FixedError
	if !errors.As(err, &fixed) || !slices.Equal(fixed.Files, []string{"bin/p"}) {
		t.Fatalf("err = %v", err)
	}
}

func TestScriptsAndSettingsMove(t *testing.T) {
	for _, place := range places {
		files := func(prefix string) map[string]string {
			return map[string]string{
				"bin/activate":                "VIRTUAL_ENV='" + prefix + "'\n",
				"lib/site-packages/x.pth":     prefix + "/src/checkout\n",
				"lib/site-packages/f.py":      "MAPPING = {'x': '" + prefix + "/src'}\n",
				"lib/x-1.dist-info/other.txt": prefix + prefix,
				"lib/untouched":               "nothing of it: " + prefix[:len(prefix)-1],
			}
		}
		top := plant(t, files(old))
		kept := map[string]string{
			"lib/site-packages/__pycache__/g.cpython-311.pyc": "\x00" + old, "lib/x-1.dist-info/RECORD": old + ",,\n", "skipped": old,
		}
		for name, text := range kept {
			_ = os.MkdirAll(filepath.Dir(filepath.Join(top, name)), 0o755)
			if err := os.WriteFile(filepath.Join(top, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		stale := filepath.Join(top, "lib/site-packages/__pycache__/f.cpython-311.pyc")
		then := time.Unix(1_600_000_000, 5)
		source := filepath.Join(top, "lib/site-packages/f.py")
		_ = os.Symlink(old+"/lib", filepath.Join(top, "lib64"))
		_ = os.Symlink(old+"x/lib", filepath.Join(top, "elsewhere"))
		if err := errors.Join(os.WriteFile(stale, nil, 0o644), os.Chmod(source, 0o444), os.Chtimes(source, then, then)); err != nil {
			t.Fatal(err)
		}
		done, err := Tree(t.Context(), top, Move{Old: old, New: place, Skip: func(rel string) bool { return rel == "skipped" }})
		if err != nil || done.Files != 5 || !slices.Equal(done.Sources, []string{"lib/site-packages/f.py"}) {
			t.Fatalf("%+v, %v", done, err)
		}
		for name, want := range files(place) {
			if name == "lib/untouched" {
				want = files(old)[name]
			}
			if got := read(t, top, name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		for name, want := range kept {
			if got := read(t, top, name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		if _, err := os.Lstat(stale); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("stale bytecode is left: %v", err)
		}
		if info, err := os.Stat(source); err != nil || info.Mode().Perm() != 0o444 || !info.ModTime().Equal(then) {
			t.Errorf("%v, %v", info, err)
		}
		in, _ := os.Readlink(filepath.Join(top, "lib64"))
		if out, _ := os.Readlink(filepath.Join(top, "elsewhere")); in != place+"/lib" || out != old+"x/lib" {
			t.Errorf("links lead to %s and %s", in, out)
		}
	}
}

func TestWhatCantMoveIsNamed(t *testing.T) {
	top := plant(t, map[string]string{
		"lib/a.so": "\x00" + old + "/lib\x00", "lib/b.so": "\x00" + old, "ok.txt": "x",
		"conda-meta/p.json": `{"paths_data":{"paths":[{"_path":"c.so","prefix_placeholder":"/ph","file_mode":"binary"}]}}`,
		"c.so":              "\x00" + old + " without an end",
	})
	if err := os.WriteFile(filepath.Join(top, "shared"), []byte(old), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(top, "shared"), filepath.Join(top, "twin")); err != nil {
		t.Fatal(err)
	}
	_, err := Tree(t.Context(), top, Move{Old: old, New: "/new"})
	var fixed *FixedError
	if !errors.As(err, &fixed) || !slices.Equal(fixed.Files, []string{"c.so", "lib/a.so", "lib/b.so", "shared", "twin"}) || !strings.Contains(err.Error(), "lib/a.so") {
		t.Fatalf("err = %v", err)
	}
	for _, bad := range []Move{{}, {Old: "/", New: "/x"}, {Old: "a", New: "/x"}, {Old: "/x", New: "y"}} {
		if _, err := Tree(t.Context(), top, bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
	top = plant(t, map[string]string{"conda-meta/p.json": "{"})
	if _, err := Tree(t.Context(), top, Move{Old: old, New: "/new"}); err == nil || !strings.Contains(err.Error(), "p.json") {
		t.Fatalf("a damaged record was taken: %v", err)
	}
}

func TestFirstLines(t *testing.T) {
	long := "/" + strings.Repeat("n", 120)
	for line, want := range map[string]string{
		"#!/o/bin/python":          "#!/n/bin/python",
		"#!/o/bin/python3.11 -I":   "#!/n/bin/python3.11 -I",
		"#! /o/bin/perl -w":        "#! /n/bin/perl -w",
		"#!/usr/bin/env /o/bin/sh": "#!/usr/bin/env /n/bin/sh",
	} {
		if got := string(replace([]byte(line+"\nrest /o\n"), "/o", "/n")); got != want+"\nrest /n\n" {
			t.Errorf("%s: %q", line, got)
		}
	}
	for line, want := range map[string]string{
		"#!/o/bin/python -I":    "#!/bin/sh\n'''exec' \"" + long + "/bin/python\" -I \"$0\" \"$@\"\n' '''",
		"#!/o/bin/perl":         "#!/usr/bin/env perl",
		"#!/o/bin/perl -w -x  ": "#!/usr/bin/env -S perl -w -x",
	} {
		if got := string(replace([]byte(line+"\nrest\n"), "/o", long)); got != want+"\nrest\n" {
			t.Errorf("%s: %q", line, got)
		}
	}
	got := string(replace([]byte("#!/o/bin/python\nx = 1\n"), "/o", "/with blanks"))
	if got != "#!/bin/sh\n'''exec' \"/with blanks/bin/python\" \"$0\" \"$@\"\n' '''\nx = 1\n" {
		t.Errorf("%q", got)
	}
}

func FuzzSearch(f *testing.F) {
	f.Add([]byte("aabaab\x00aab"), []byte("aab"), uint16(1))
	f.Add(bytes.Repeat([]byte("a"), 100), []byte("aa"), uint16(70))
	f.Fuzz(func(t *testing.T, data, what []byte, repeat uint16) {
		if len(what) == 0 || len(what) > 200 {
			return
		}
		data = bytes.Repeat(data, int(repeat)) // beyond one buffer
		at, text, err := search(bytes.NewReader(data), what)
		if err != nil {
			return
		}
		var want []int64
		for i := 0; ; {
			k := bytes.Index(data[i:], what)
			if k < 0 {
				break
			}
			want = append(want, int64(i+k))
			i += k + len(what)
		}
		if !slices.Equal(at, want) || text != (bytes.IndexByte(data, 0) < 0) {
			t.Fatalf("found %v, want %v; text %v", at, want, text)
		}
	})
}

// Whatever a program and conda's record hold: the file keeps its size, nothing
// but strings with the path changes, and no path is left.
func FuzzPatch(f *testing.F) {
	f.Add([]byte("/old/x\x00\x00\x00\x00tail"), uint8(7), 9)
	f.Add([]byte("a/old:/old\x00\x00"), uint8(0), 300)
	f.Fuzz(func(t *testing.T, data []byte, longer uint8, length int) {
		const was = "/old"
		place := "/N" + strings.Repeat("n", int(longer))
		if bytes.ContainsRune(data, 'N') {
			return
		}
		at, _, err := search(bytes.NewReader(data), []byte(was))
		if err != nil || at == nil {
			return
		}
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		if err := patch(file, at, []byte(was), []byte(place), length); err != nil {
			return
		}
		got, err := os.ReadFile(path)
		if err != nil || len(got) != len(data) || strings.ReplaceAll(string(got), place, "") == string(got) {
			t.Fatalf("%q became %q, %v", data, got, err)
		}
		strip := func(b []byte, what string) string {
			return strings.ReplaceAll(strings.ReplaceAll(string(b), what, "\x01"), "\x00", "")
		}
		if strip(got, place) != strip(data, was) {
			t.Fatalf("%q became %q", data, got)
		}
	})
}
