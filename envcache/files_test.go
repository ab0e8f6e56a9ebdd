package envcache

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestPipConfigOfTheHost(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{
		"xdg/pip/pip.conf":          "[global]\nindex-url = https://far/simple\n",
		"home/.config/pip/pip.conf": "; comment\n[global]\nindex_url=https://near/simple\nextra-index-url =\n    https://x/s\n    # no\n    https://y/s\ntrusted-host = a b\ncert: /c.pem\n[list]\nindex-url = https://wrong\n[install]\nextra-index-url = https://z/s\n",
		"own.conf":                  "[global]\nindex-url=https://own/simple\n",
	})
	env := map[string]string{"HOME": filepath.Join(dir, "home"), "XDG_CONFIG_DIRS": filepath.Join(dir, "xdg")}
	getenv := func(k string) string { return env[k] }
	got := hostPipSettings(getenv)
	if got.index != "https://near/simple" || !slices.Equal(got.extra, []string{"https://z/s"}) || !slices.Equal(got.trusted, []string{"a", "b"}) || got.cert != "/c.pem" {
		t.Errorf("%+v", got)
	}
	env["PIP_CONFIG_FILE"] = filepath.Join(dir, "own.conf")
	if got := hostPipSettings(getenv); got.index != "https://own/simple" {
		t.Errorf("%+v", got)
	}
	env["PIP_INDEX_URL"], env["PIP_EXTRA_INDEX_URL"] = "https://env/simple", "https://1/s https://2/s"
	if got := hostPipSettings(getenv); got.index != "https://env/simple" || len(got.extra) != 2 {
		t.Errorf("%+v", got)
	}
	env = map[string]string{"HOME": filepath.Join(dir, "home"), "PIP_CONFIG_FILE": os.DevNull}
	if got := hostPipSettings(getenv); got.index != "" || len(got.extra) != 0 {
		t.Errorf("%+v", got)
	}
}

func FuzzPipConfig(f *testing.F) {
	f.Add("[global]\na = b\n c\n")
	f.Add(" x\n[\n=:\n")
	f.Fuzz(func(_ *testing.T, text string) { readPipConfig(text, map[string]string{}) })
}

func TestFilesOnAnIndexPage(t *testing.T) {
	from, _ := url.Parse("https://user:pw@host/simple/pip/")
	sum := strings.Repeat("ab", 32)
	for page, want := range map[string]pageFile{
		`<a href="../../p/pip-1.whl#sha256=ab">pip-1.whl</a>`:                                 {"pip-1.whl", "https://host/p/pip-1.whl", "", ""},
		`<A class=x HREF='https://files/a/pip-1.whl?x=1&amp;y=2'>pip-1.whl</A>`:               {"pip-1.whl", "https://files/a/pip-1.whl?x=1&y=2", "", ""},
		`<a href="pip-1.whl#sha256=` + sum + `" data-requires-python="&gt;=3.9,&lt;4">x</a>`:  {"pip-1.whl", "https://host/simple/pip/pip-1.whl", sum, ">=3.9,<4"},
		`<a data-requires-python='>=3' href="pip-1.whl#egg=x&amp;sha256=` + sum + `">`:        {"pip-1.whl", "https://host/simple/pip/pip-1.whl", sum, ">=3"},
		`{"files":[{"filename":"pip-1.whl","url":"https://files/pip-1.whl"}]}`:                {"pip-1.whl", "https://files/pip-1.whl", "", ""},
		`{"files":[{"url":"../x/p.whl","hashes":{"sha256":"ff"},"requires-python":">=3.9"}]}`: {"p.whl", "https://host/simple/x/p.whl", "ff", ">=3.9"},
		`<a href="file:///etc/pip-1.whl">`:                                                    {}, ``: {}, `{"files":[]}`: {}, `<a href="%zz/pip-1.whl">`: {}, `<a href="javascript:pip-1.whl">`: {},
	} {
		if got := append(pageFiles([]byte(page), from), pageFile{})[0]; got != want {
			t.Errorf("%s: %+v", page, got)
		}
	}
}

func FuzzIndexPage(f *testing.F) {
	from, _ := url.Parse("https://host/simple/pip/")
	f.Add(`<a href="x/pip-1.whl" data-requires-python="x">`)
	f.Add(`{"files":[{"filename":"pip-1.whl","url":"pip-1.whl"}]}`)
	f.Fuzz(func(t *testing.T, page string) {
		for _, file := range pageFiles([]byte(page), from) {
			if !strings.HasPrefix(file.url, "http") || strings.ContainsRune(file.name, '/') {
				t.Fatalf("%q gave %+v", page, file)
			}
		}
	})
}

func TestManifestReadsAsWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		it := item{
			kind: rapid.SampledFrom([]byte("dflx")).Draw(t, "kind"), mode: 0o755, size: rapid.Int64Min(0).Draw(t, "size"),
			mtime: rapid.Int64().Draw(t, "mtime"), ctime: rapid.Int64().Draw(t, "ctime"),
			digest: rapid.StringMatching(`([0-9a-f]{64})?`).Draw(t, "digest"),
			target: string(rapid.SliceOf(rapid.Byte()).Draw(t, "target")), path: string(rapid.SliceOf(rapid.Byte()).Draw(t, "path")),
		}
		got, err := parseItem(it.String())
		if err != nil || got != it {
			t.Fatalf("%q: %+v, %v", it, got, err)
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add(manifestHead + "\nd 755 0 0 0 - \"\" \".\"\nend 1\n")
	f.Add(manifestHead + "\nf 644 1 2 3 ab \"\" \"a\\n\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := readManifest(strings.NewReader(text))
		if err == nil && m == nil && !strings.Contains(text, "end 0") {
			t.Fatal("an empty manifest without an end")
		}
	})
}

// Whatever is done to a tree, and however the times are set back: it is noticed.
func TestVerifyNoticesEveryChange(t *testing.T) {
	build := func(t *testing.T) (string, manifest) {
		t.Helper()
		top := filepath.Join(t.TempDir(), "env")
		writeFiles(t, top, map[string]string{"bin/python": "exe", "lib/a.py": "aaaa", "lib/b.py": "bbbb"})
		if err := os.Symlink("b.py", filepath.Join(top, "lib", "link")); err != nil {
			t.Fatal(err)
		}
		m, err := survey(t.Context(), top)
		if err == nil {
			err = m.hash(t.Context(), top, func(int) bool { return true })
		}
		if err != nil {
			t.Fatal(err)
		}
		file := top + manifestSuffix
		if err := m.write(file); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if m, err = readManifest(f); err != nil {
			t.Fatal(err)
		}
		return top, m
	}
	for name, change := range map[string]func(top string) error{
		"rewritten": func(top string) error { return os.WriteFile(filepath.Join(top, "lib/a.py"), []byte("evil!"), 0o644) },
		"rewritten with the old size and times": func(top string) error {
			p := filepath.Join(top, "lib/a.py")
			info, _ := os.Stat(p)
			return errors.Join(os.WriteFile(p, []byte("evil"), 0o644), os.Chtimes(p, info.ModTime(), info.ModTime()))
		},
		"added":        func(top string) error { return os.WriteFile(filepath.Join(top, "lib/sitecustomize.py"), nil, 0o644) },
		"added folder": func(top string) error { return os.Mkdir(filepath.Join(top, "lib/six"), 0o755) },
		"removed":      func(top string) error { return os.Remove(filepath.Join(top, "lib/b.py")) },
		"mode":         func(top string) error { return os.Chmod(filepath.Join(top, "lib/a.py"), 0o755) },
		"renamed": func(top string) error {
			return os.Rename(filepath.Join(top, "lib/a.py"), filepath.Join(top, "lib/c.py"))
		},
		"link turned": func(top string) error {
			return errors.Join(os.Remove(filepath.Join(top, "lib/link")), os.Symlink("a.py", filepath.Join(top, "lib/link")))
		},
		"swapped": func(top string) error {
			a, b, c := filepath.Join(top, "lib/a.py"), filepath.Join(top, "lib/b.py"), filepath.Join(top, "lib/c")
			return errors.Join(os.Rename(a, c), os.Rename(b, a), os.Rename(c, b))
		},
	} {
		t.Run(name, func(t *testing.T) {
			top, m := build(t)
			if err := m.compare(t.Context(), top, false); err != nil {
				t.Fatalf("unchanged, but %v", err)
			}
			if err := change(top); err != nil {
				t.Fatal(err)
			}
			var changed *Changed
			if err := m.compare(t.Context(), top, false); !errors.As(err, &changed) || len(changed.Paths) == 0 {
				t.Fatalf("err = %v", err)
			}
		})
	}
	top, m := build(t)
	now := time.Now()
	if err := os.Chtimes(filepath.Join(top, "lib/a.py"), now, now); err != nil { // a touch is no change
		t.Fatal(err)
	}
	if err := errors.Join(m.compare(t.Context(), top, false), m.compare(t.Context(), top, true)); err != nil {
		t.Fatal(err)
	}
}

func TestFrozenLines(t *testing.T) {
	for direct, want := range map[string]string{
		``:           "x==1",
		`{"bad`:      "x==1",
		`{"url":""}`: "x==1",
		`{"url":"https://u:p@h/r","vcs_info":{"vcs":"git","commit_id":"abc"}}`:                "x @ git+https://h/r@abc",
		`{"url":"https://h/r","vcs_info":{"vcs":"git","commit_id":"abc"},"subdirectory":"s"}`: "x @ git+https://h/r@abc#subdirectory=s",
		`{"url":"https://h/x.whl","archive_info":{"hashes":{"sha256":"ff"}}}`:                 "x @ https://h/x.whl#sha256=ff",
		`{"url":"file:///env/src/checkout","dir_info":{"editable":true}}`:                     "-e .",
		`{"url":"file:///env/src/checkout/libs/x","dir_info":{"editable":true}}`:              "-e ./libs/x",
		`{"url":"file:///env/src/checkout/libs/x","dir_info":{}}`:                             "./libs/x",
		`{"url":"file:///opt/x.whl","archive_info":{}}`:                                       "x @ file:///opt/x.whl",
	} {
		if got := frozenLine("x", "1", []byte(direct), "/env"); got != want {
			t.Errorf("%s: %q, not %q", direct, got, want)
		}
	}
}

func TestClonedLines(t *testing.T) {
	id := strings.Repeat("0a", 20)
	config := "[core]\n\turl = no\n[remote \"origin\"]\n\tfetch = x\n\turl = https://tok:en@h/r.git\n"
	for name, tc := range map[string]struct {
		files map[string]string
		want  string
	}{
		"a commit":       {map[string]string{"HEAD": id + "\n", "config": config}, "-e git+https://h/r.git@" + id + "#egg=x&subdirectory=sub/y"},
		"a branch":       {map[string]string{"HEAD": "ref: refs/heads/m\n", "refs/heads/m": id, "config": config}, "-e git+https://h/r.git@" + id + "#egg=x&subdirectory=sub/y"},
		"packed":         {map[string]string{"HEAD": "ref: refs/heads/m\n", "packed-refs": "# x\n" + id + " refs/heads/m\n", "config": config}, "-e git+https://h/r.git@" + id + "#egg=x&subdirectory=sub/y"},
		"no commit":      {map[string]string{"HEAD": "ref: refs/heads/m\n", "config": config}, ""},
		"elsewhere":      {map[string]string{"HEAD": "ref: ../../../../../etc/hostname\n", "config": config}, ""},
		"no origin":      {map[string]string{"HEAD": id, "config": "[remote \"up\"]\nurl = https://h/r"}, ""},
		"no URL":         {map[string]string{"HEAD": id, "config": "[remote \"origin\"]\nurl = git@h:r"}, ""},
		"more than that": {map[string]string{"HEAD": id, "config": "[remote \"origin\"]\nurl = https://h/r --index-url=x"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for f, text := range tc.files {
				writeFiles(t, dir, map[string]string{"src/x/.git/" + f: text})
			}
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = root.Close() }()
			if got := cloned(root, "x", "x/sub/y"); got != tc.want {
				t.Fatalf("%q, not %q", got, tc.want)
			}
		})
	}
}
