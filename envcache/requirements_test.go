package envcache

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"agentctl/envcache/internal/secret"
)

func TestOneSpellingPerRequirement(t *testing.T) {
	for want, spellings := range map[string][]string{
		"foo-bar<2,>=1":                          {"foo-bar<2,>=1", "Foo_Bar >= 1, < 2", "foo.bar(>=1,<2)", "FOO--bar <2 , >=1  # why"},
		"foo[a,b-c]==1.0":                        {"foo[a,b-c]==1.0", "foo [B_C, a] == 1.0"},
		`foo ;python_version < "3"`:              {"foo; python_version < '3'", `foo ;python_version < "3"`, `foo;  python_version  <  "3"`},
		"foo @ https://h/foo.whl":                {"foo@ https://h/foo.whl", "foo @ https://h/foo.whl", "Foo  @  https://h/foo.whl"},
		"foo==1 --hash=sha256:a --hash=sha256:b": {"foo==1 --hash=sha256:b --hash=sha256:a", "foo==1 \\\n  --hash=sha256:a \\\n --hash=sha256:b"},
		"foo==1":                                 {"foo==1", "foo==1\r", "  foo==1  \r\n"},
		"--index-url https://i/s":                {"-i https://i/s", "--index-url=https://i/s", "--index-url  https://i/s", "--pypi-url https://i/s"},
		"--editable git+https://h/r@main#egg=x":  {"-e git+https://h/r@main#egg=x", "--editable=git+https://h/r@main#egg=x", "-e  'git+https://h/r@main#egg=x'"},
	} {
		norm := func(s string) string {
			t.Helper()
			lines := logicalLines(s)
			if len(lines) != 1 {
				t.Fatalf("%q has %d lines", s, len(lines))
			}
			return parseLine(lines[0]).canon()
		}
		for _, s := range spellings {
			if got := norm(s); got != want {
				t.Errorf("%q: %q, not %q", s, got, want)
			}
		}
	}
}

func TestLineKinds(t *testing.T) {
	for line, want := range map[string]lineKind{
		"six": lineName, "six==1": lineName, "git+https://h/r": lineVCS, "x @ git+ssh://git@h/r@main": lineVCS,
		"https://h/x.whl": lineURL, "x @ https://h/x.tar.gz": lineURL, "./x": linePath, ".": linePath, ".[dev]": linePath,
		"/opt/x.whl": linePath, "wheels/x.whl": linePath, "x-1-py3-none-any.whl": linePath, "-r a.txt": lineInclude, "-ra.txt": lineInclude,
		"--requirement=a.txt": lineInclude, "-c c.txt": lineConstr, "-e .": lineEditable, "--pre": lineOption, "--no-binary :all:": lineOption,
	} {
		if got := parseLine(line); got.kind != want {
			t.Errorf("%q is of kind %d, not %d", line, got.kind, want)
		}
	}
}

func TestPinned(t *testing.T) {
	sha, sum := strings.Repeat("a", 40), strings.Repeat("b", 64)
	for line, want := range map[string]bool{
		"six==1.16.0": true, "six===1": true, "six": false, "six>=1": false, "six==1.*": false, "six==1,<2": false,
		"git+https://h/r@" + sha: true, "git+https://h/r@main": false, "git+https://h/r": false, "x @ git+https://h/r@" + sha + "#subdirectory=a": true,
		"https://h/x.whl": false, "https://h/x.whl#sha256=" + sum: true, "-e .": true, "-e git+https://h/r#egg=x": false, "--pre": true,
	} {
		if got := parseLine(line).pinned(); got != want {
			t.Errorf("%q: pinned = %v", line, got)
		}
	}
}

func repoDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	writeFiles(t, dir, files)
	return dir
}

func TestIncludesAreRead(t *testing.T) {
	dir := repoDir(t, map[string]string{
		"requirements/dev.txt":  "-r base.txt\n-c ../limits.txt\npytest\n./libs/a\n",
		"requirements/base.txt": "\xef\xbb\xbfsix==1\r\n# comment\r\n--extra-index-url https://x/s\r\n",
		"limits.txt":            "six<2\n-r more.txt\n",
		"more.txt":              "other<3\n",
	})
	got, err := resolveRequirements([]string{"-r requirements/dev.txt", "colorama"}, nil, dir, "")
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"six==1", "--extra-index-url https://x/s", "pytest", "./libs/a", "colorama"}; !slices.Equal(got.lines, want) {
		t.Errorf("lines %q", got.lines)
	}
	if want := []string{"six<2", "other<3"}; !slices.Equal(got.constraints, want) {
		t.Errorf("constraints %q", got.constraints)
	}
	if !got.unpinned || !got.local || got.editable {
		t.Errorf("%+v", got)
	}
}

func TestHostileRequirements(t *testing.T) {
	dir := repoDir(t, map[string]string{"loop.txt": "-r loop.txt\n", "big.txt": strings.Repeat("x\n", mostText), "dir/x": ""})
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "link.txt")); err != nil {
		t.Fatal(err)
	}
	private := t.TempDir()
	for _, lines := range [][]string{
		{"-r /etc/passwd"}, {"-r ../../etc/passwd"}, {"-r link.txt"}, {"-c ../x"}, {"-r dir"}, {"-r loop.txt"}, {"-r big.txt"}, {"-r no.txt"},
		{"-e ../x"}, {"./../../etc"}, {"six\x00"}, {"-e"}, {"file://relative"}, {"x @ file://" + private}, {private + "/x.whl"},
		{strings.Repeat("a", mostText) + "\n"},
	} {
		if got, err := resolveRequirements(lines, nil, dir, private); err == nil {
			t.Errorf("%.60q was taken: %+v", lines, got)
		} else if len(err.Error()) > 700 {
			t.Errorf("%.60q: an error of %d bytes", lines, len(err.Error()))
		}
	}
	for _, line := range []string{"-r x.txt", "./x", "-e ."} {
		if _, err := resolveRequirements([]string{line}, nil, "", ""); err == nil || !strings.Contains(err.Error(), "repository") {
			t.Errorf("%q without a repository: %v", line, err)
		}
	}
}

func TestFileOfAnotherMachineLosesItsURL(t *testing.T) {
	got, err := resolveRequirements([]string{"numpy @ file:///croot/numpy_1/work\ntorch==2"}, nil, "", "/state")
	if err != nil || !slices.Equal(got.lines, []string{"numpy", "torch==2"}) || len(got.notes) != 1 || !got.unpinned {
		t.Fatalf("%+v, %v", got, err)
	}
	here := filepath.Join(t.TempDir(), "x-1-py3-none-any.whl")
	writeFiles(t, filepath.Dir(here), map[string]string{filepath.Base(here): "1"})
	one, err := resolveRequirements([]string{"x @ file://" + here}, nil, "", "/state")
	if err != nil || len(one.lines) != 1 || !strings.Contains(one.lines[0], here) {
		t.Fatalf("%+v, %v", one, err)
	}
	writeFiles(t, filepath.Dir(here), map[string]string{filepath.Base(here): "22"})
	two, _ := resolveRequirements([]string{"x @ file://" + here}, nil, "", "/state")
	if slices.Equal(one.canon, two.canon) {
		t.Fatal("another file, the same key")
	}
}

func TestCredentialsLeaveTheLines(t *testing.T) {
	got, err := resolveRequirements([]string{
		"--extra-index-url https://u:hunter22@i/s",
		"x @ git+https://tokentoken@h/r.git@main#egg=x",
		"git+ssh://git@h/r.git",
		"https://a:${PASSWORD}@h/x.whl",
	}, nil, "", "")
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(append(append(got.lines, got.canon...), got.options...), "\n")
	if strings.Contains(all, "hunter22") || strings.Contains(all, "tokentoken") || !strings.Contains(all, "ssh://git@h") {
		t.Fatalf("lines:\n%s", all)
	}
	want := []urlLogin{
		{"https://i/s", false, secret.Login{User: "u", Password: "hunter22"}},
		{"git+https://h/r.git@main#egg=x", true, secret.Login{User: "tokentoken"}},
	}
	if !slices.Equal(got.logins, want) || len(got.notes) != 1 || !strings.Contains(got.notes[0], "environment") {
		t.Fatalf("%+v", got)
	}
}

func FuzzRequirements(f *testing.F) {
	f.Add("six==1.16.0\n-r x\n--hash=a")
	f.Add("a[b] @ git+https://u:p@h/r@x#egg=y ; python_version<'3' \\\n # c")
	f.Add("-e .\n./x[y]\nfile:///x")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := resolveRequirements([]string{text}, nil, "", "/state")
		if err != nil {
			return
		}
		for _, l := range append(slices.Clone(got.lines), got.constraints...) {
			if strings.ContainsAny(l, "\n\r\x00") && !strings.Contains(text, "\r") {
				t.Fatalf("%q gave the line %q", text, l)
			}
		}
		// The one spelling is its own spelling.
		for _, l := range got.lines {
			p := parseLine(l)
			if p.kind == lineName && p.name != "" && parseLine(p.canon()).canon() != p.canon() {
				t.Fatalf("%q: %q, then %q", l, p.canon(), parseLine(p.canon()).canon())
			}
		}
	})
}
