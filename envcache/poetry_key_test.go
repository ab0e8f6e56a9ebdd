package envcache

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What decides the files of an environment is in its key, and nothing else of the
// repository is.
func TestPoetryKey(t *testing.T) {
	t.Parallel()
	c := poetryCache(t, Options{})
	py := hostPython(t, SameUser)
	const lock = "[[package]]\nname = \"x\"\n"
	key := func(change func(files map[string]string, r *Request)) string {
		t.Helper()
		files := map[string]string{
			"pyproject.toml": poetryDemo + "[[tool.poetry.source]]\nname = 'corp'\nurl = 'https://user:hunter22@corp/simple'\n", poetryLockFile: lock,
		}
		req := Request{
			Manager: ManagerPoetry, Python: py, Project: Project{ProjectPoetry, poetryLockFile}, UID: SameUser, GID: SameUser,
			Groups: []string{"docs", "lint"}, IndexURL: "https://user:hunter22@index/simple",
		}
		change(files, &req)
		req.BaseDir = filepath.Join(newState(t), "repo")
		writeFiles(t, req.BaseDir, files)
		p, err := c.builders[ManagerPoetry].plan(t.Context(), req, func(Progress) {})
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range p.parts {
			if all := part.Value + strings.Join(part.Lines, "\n"); strings.Contains(all, "hunter22") {
				t.Errorf("the password is in the key: %s", all)
			}
		}
		return keyOf(append(commonParts(req, "/state/envs", p.brings), p.parts...))
	}
	in := func(file, old, new string) func(map[string]string, *Request) {
		return func(files map[string]string, _ *Request) { files[file] = strings.Replace(files[file], old, new, 1) }
	}
	more := func(file, text string) func(map[string]string, *Request) {
		return func(files map[string]string, _ *Request) { files[file] += text }
	}
	of := func(change func(*Request)) func(map[string]string, *Request) {
		return func(_ map[string]string, r *Request) { change(r) }
	}
	base := key(func(map[string]string, *Request) {})
	seen := map[string]string{base: "the base"}
	for name, change := range map[string]func(map[string]string, *Request){
		"a dependency":      in("pyproject.toml", "Top_Level>=1", "Top_Level>=2"),
		"a marker":          in("pyproject.toml", "version < '3'", "version < '4'"),
		"requires-python":   in("pyproject.toml", ">=3.8", ">=3.9"),
		"an extra's list":   in("pyproject.toml", "speedy>=1", "speedy>=2"),
		"a PEP 735 group":   in("pyproject.toml", "linter>=1", "linter>=2"),
		"a poetry group":    in("pyproject.toml", `writer = "*"`, `writer = "1"`),
		"a source":          in("pyproject.toml", "@corp/simple", "@corp/other"),
		"build constraints": more("pyproject.toml", "[tool.poetry.build-constraints]\nx = {setuptools = '<70'}\n"),
		"another group":     more("pyproject.toml", "[tool.poetry.group.more.dependencies]\nx = '*'\n"),
		"the lock":          in(poetryLockFile, `"x"`, `"y"`),
		"no lock":           func(files map[string]string, _ *Request) { delete(files, poetryLockFile) },
		"no wheels":         more(poetryConfig, "[installer]\nno-binary = ['x']\n"),
		"age of releases":   more(poetryConfig, "[solver]\nmin-release-age = 3\n"),
		"a group":           of(func(r *Request) { r.Groups = []string{"docs"} }),
		"all groups":        of(func(r *Request) { r.Groups = []string{"*"} }),
		"an extra":          of(func(r *Request) { r.Extras = []string{"fast"} }),
		"the index":         of(func(r *Request) { r.IndexURL = "https://other/simple" }),
		"an extra index":    of(func(r *Request) { r.ExtraIndexURLs = []string{"https://other/simple"} }),
		"system packages":   of(func(r *Request) { r.SystemSite = true }),
		"its own packages":  more(poetryLockFile, "[package.source]\ntype = \"directory\"\nurl = \"libs/x\"\n"),
		"the interpreter":   of(func(r *Request) { r.Python.Build = "another" }),
		"the platform":      of(func(r *Request) { r.Python.Platform = "another" }),
		"the version":       of(func(r *Request) { r.Python.Version = "3.11.99" }),
		"poetry's version":  of(func(r *Request) { r.Versions = map[string]string{ManagerPoetry: "2.1.4"} }),
		"the ABI":           of(func(r *Request) { r.Python.ABI = "another" }),
	} {
		k := key(change)
		if other, ok := seen[k]; ok {
			t.Errorf("%s has the key of %s", name, other)
		}
		seen[k] = name
	}
	for name, change := range map[string]func(map[string]string, *Request){
		"nothing but the folder": func(map[string]string, *Request) {},
		"the project's version":  in("pyproject.toml", "0.1.0", "0.2.0"),
		"a linter's settings":    more("pyproject.toml", "[tool.ruff]\nline-length = 1\n"),
		"comments and blanks":    in("pyproject.toml", "[dependency-groups]\nlint = [", "# why\n[dependency-groups]\nlint   = [\n "),
		"the code":               more("src/demo/__init__.py", "x = 1\n"),
		"poetry's own folders":   more(poetryConfig, "[virtualenvs]\nin-project = true\ncache-dir = '/x'\n"),
		"a source's password":    in("pyproject.toml", "user:hunter22@corp", "other:hunter22b@corp"),
		"the index's password":   of(func(r *Request) { r.IndexURL = "https://other:hunter22c@index/simple" }),
		"groups in other words":  of(func(r *Request) { r.Groups = []string{"Lint", "DOCS", "main", "docs"} }),
		"requirements":           of(func(r *Request) { r.Requirements = []string{"six"} }),
	} {
		if k := key(change); k != base {
			t.Errorf("%s changes the key", name)
		}
	}
}

func FuzzPoetryProject(f *testing.F) {
	f.Add(poetryDemo, "", "")
	f.Add("[tool.poetry.dependencies]\nx = {path = '../x'}\n", "[[package]]\nname = 'x'\ngroups = ['main']\n[package.source]\ntype = \"directory\"\nurl = \"/etc\"\n", "[installer]\nno-binary = true\n")
	f.Add("[project]\ndependencies = ['x @ file:///x']\n[tool.poetry]\nsource = [{name = 'x', url = 'https://u:p@h'}]\n", "type = \"file\"", "solver = 1")
	repo := f.TempDir()
	f.Fuzz(func(t *testing.T, pyproject, lock, config string) {
		for name, text := range map[string]string{"pyproject.toml": pyproject, poetryLockFile: lock, poetryConfig: config} {
			if err := os.WriteFile(filepath.Join(repo, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p, err := readPoetryProject(Request{BaseDir: repo, Project: Project{ProjectPoetry, "pyproject.toml"}})
		if err != nil {
			return
		}
		p.sources()
		for _, name := range append(p.groupNames(), p.extraNames()...) {
			if name != normalName(name) {
				t.Fatalf("group or extra %q", name)
			}
		}
		for _, lock := range [][]byte{p.lock, nil} {
			p.lock = lock
			_, _ = p.takesFromRepository([]string{"*"})
		}
	})
}
