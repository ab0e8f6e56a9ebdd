package envcache

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"
)

// What uv says becomes a line per step, with the times that uv gives.
func TestUVIsToldInSteps(t *testing.T) {
	t.Parallel()
	c := &clocked{at: time.Unix(1_700_000_000, 0)}
	p, hear := c.phases(), listeners[ManagerUV]()
	foreign := 0
	var kept []string
	for line := range strings.Lines(`Using Python 3.11.7 environment at: env
DEBUG Calling ` + "`be.get_requires_for_build_wheel()`" + `
Resolved 7 packages in 1.20s
   Building one==1.0
   Building two==1.0
      Built one==1.0
Downloading numpy (16.0MiB)
Downloading pandas (8.0MiB)
 Downloaded pandas
 Downloaded numpy
warning: something is odd
Prepared 7 packages in 2m 03s
Installed 7 packages in 120ms
 + numpy==2.0
`) {
		c.at = c.at.Add(100 * time.Millisecond)
		line = strings.TrimRight(line, "\n")
		if runsCode[ManagerUV].MatchString(line) {
			foreign++
		}
		if !hear(line, p) {
			kept = append(kept, line)
		}
	}
	p.end(true)
	want := []string{
		"resolve: 7 packages (1.2s)", "uv: warning: something is odd", "download: 25.2 MB (500ms)", "build: 2 packages, two==1.0 the last (300ms)",
		"install: 7 packages (120ms)",
	}
	got := c.lines()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("told %q, not %q", got, want)
	}
	if foreign != 3 || len(kept) != 12 {
		t.Errorf("%d lines tell of code that runs; kept for errors: %q", foreign, kept)
	}
}

func TestUVOptionsOfAList(t *testing.T) {
	t.Parallel()
	list, err := resolveRequirements([]string{
		"--extra-index-url https://dropped/simple", "-i https://main/simple", "--extra-index-url https://user:pw@more/simple", "-f https://links/x.html",
		"--trusted-host odd", "--pre", "--prefer-binary", "--use-feature=fast-deps", "--only-binary=numpy", "-e git+https://h/r@v1#egg=r", "numpy", "--odd x",
	}, nil, "", "")
	if err != nil {
		t.Fatal(err)
	}
	o, err := uvOptionsOf(&list, false)
	if err != nil {
		t.Fatal(err)
	}
	o.addIndexes(pipSettings{index: "https://hosts/simple", extra: []string{"https://hosts-extra/simple"}})
	s := o.settings(Interpreter{})
	want := []uvIndex{{URL: "https://more/simple"}, {URL: "https://main/simple", Default: true}}
	if !slices.Equal(s.Indexes, want) || !slices.Equal(s.FindLinks, []string{"https://links/x.html"}) || !slices.Equal(o.trusted, []string{"odd"}) || !o.pre {
		t.Errorf("%+v, %+v", s, o)
	}
	if want := []string{"--only-binary=numpy", "git+https://h/r@v1#egg=r", "numpy", "--odd x"}; !slices.Equal(o.lines, want) || len(o.notes) != 1 {
		t.Errorf("lines %q, notes %q", o.lines, o.notes)
	}
	list.lines = []string{"--find-links ../out"}
	if _, err := uvOptionsOf(&list, true); err == nil {
		t.Error("a folder outside of the repository is taken")
	}
	list.lines = []string{"six"}
	if o, err = uvOptionsOf(&list, true); err != nil {
		t.Fatal(err)
	}
	o.addIndexes(pipSettings{index: "https://hosts/simple", extra: []string{"https://hosts-extra/simple"}})
	if s := o.settings(Interpreter{}); len(s.Indexes) != 2 || s.Indexes[1].URL != "https://hosts/simple" {
		t.Errorf("%+v", s)
	}
}

const somePylock = `
[[packages]]
name = "Many_Wheels"
version = "1.0"
sdist = { url = "https://u:p@h/m.tar.gz", hashes = { sha256 = "S" } }
wheels = [ { url = "https://h/b.whl", hashes = { sha256 = "B" } }, { url = "https://h/a.whl", hashes = { sha256 = "A" } }, { url = "https://h/a.whl", hashes = { sha256 = "A" } } ]
[[packages]]
name = "source"
version = "2.0"
sdist = { url = "https://h/s.tar.gz", hashes = { sha256 = "S" } }
[[packages]]
name = "vcs"
version = "3.0"
vcs = { type = "git", url = "https://u:p@h/r.git", commit-id = "C", subdirectory = "d" }
[[packages]]
name = "link"
version = "4.0"
archive = { url = "https://u:p@h/l.whl", hashes = { sha256 = "A" } }
`

func TestPylockBecomesALock(t *testing.T) {
	t.Parallel()
	sums := map[string]string{"S": strings.Repeat("5", 64), "A": strings.Repeat("a", 64), "B": strings.Repeat("b", 64), "C": strings.Repeat("c", 40)}
	text := somePylock
	for k, v := range sums {
		text = strings.ReplaceAll(text, `"`+k+`"`, `"`+v+`"`)
	}
	var r pylock
	if err := toml.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	l, err := r.lock("3.11.7", &uvOptions{})
	want := []string{
		"link @ https://h/l.whl --hash=sha256:" + sums["A"],
		"many-wheels==1.0 --hash=sha256:" + sums["A"] + " --hash=sha256:" + sums["B"],
		"source==2.0 --hash=sha256:" + sums["S"],
		"vcs @ git+https://h/r.git@" + sums["C"] + "#subdirectory=d",
	}
	if err != nil || !slices.Equal(l.Packages, want) || !l.Built || l.Check() != nil {
		t.Errorf("%+v, %v, %v", l, err, l.Check())
	}
	// With hashes in the list, only those count, and every package needs one.
	given := &uvOptions{hashed: true, hashes: map[string][]string{"many-wheels": {"sha256:" + sums["B"], "sha256:" + sums["S"]}, "link": {"sha256:" + sums["C"]}}}
	r.Packages = []pylockPackage{r.Packages[0], r.Packages[3]}
	l, err = r.lock("3.11.7", given)
	if want := []string{"link @ https://h/l.whl --hash=sha256:" + sums["C"], "many-wheels==1.0 --hash=sha256:" + sums["B"]}; err != nil || !slices.Equal(l.Packages, want) || l.Built {
		t.Errorf("%+v, %v", l, err)
	}
	delete(given.hashes, "link")
	var failed *BuildError
	if _, err = r.lock("3.11.7", given); !errors.As(err, &failed) || !strings.Contains(failed.Error(), "link is given without a hash") {
		t.Errorf("err = %v", err)
	}
}

func FuzzPylock(f *testing.F) {
	f.Add(somePylock)
	f.Add("[[packages]]\nname = \"x\"\nversion = \"1\\n-r y\"\nwheels = [{url = \"\", hashes = {sha256 = \"" + strings.Repeat("a", 64) + "\"}}]\n")
	f.Fuzz(func(t *testing.T, text string) {
		var r pylock
		if toml.Unmarshal([]byte(text), &r) != nil {
			return
		}
		l, err := r.lock("3.11.7", &uvOptions{})
		if err != nil {
			return
		}
		for _, p := range l.Packages {
			if strings.ContainsAny(p, "\n\r") {
				t.Fatalf("a package of two lines: %q", p)
			}
		}
	})
}

func FuzzUVFile(f *testing.F) {
	f.Add("source = { directory = \"../../x\" }\n", "path = \"../x\"\nurl = \"https://h/x\"")
	f.Fuzz(func(t *testing.T, lock, pylock string) {
		file := &uvFile{project: Project{ProjectPylock, "sub/pylock.toml"}}
		_ = file.readPylock([]byte(pylock))
		for _, m := range uvSource.FindAllStringSubmatch(lock, -1) {
			if file.source(m[1], m[2]) == nil && m[1] == "directory" && strings.HasPrefix(m[2], "../..") {
				t.Fatalf("%q is taken", m[2])
			}
		}
	})
}
