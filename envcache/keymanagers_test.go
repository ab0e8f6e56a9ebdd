package envcache

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// planned gives the parts of requests as the builders of one cache plan them, as if
// the cache were in one fixed place. Nothing is fetched.
type planned struct {
	c     *Cache
	state string
}

func newPlanned(t *testing.T, env map[string]string) planned {
	t.Helper()
	state := newState(t)
	for _, v := range []string{pipVersion, "24.0"} { // pips that are there
		if err := os.MkdirAll(filepath.Join(state, "tools", "pip-"+v), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Open(state, Options{Getenv: environ(env)})
	if err != nil {
		t.Fatal(err)
	}
	return planned{c, state}
}

type fataler interface{ Fatal(args ...any) }

func (p planned) parts(t fataler, req Request) []Part {
	out, err := p.c.builders[req.Manager].plan(context.Background(), req, func(Progress) {})
	if err != nil {
		t.Fatal(err)
	}
	parts := append(commonParts(req, "/state/envs", out.brings), out.parts...)
	if data, err := json.Marshal(parts); err != nil || strings.Contains(string(data), "hunter") {
		t.Fatal("a secret is in the key: ", string(data), err)
	}
	return parts
}

func (p planned) key(t fataler, req Request) string { return keyOf(p.parts(t, req)) }

// change is one change of what is asked for: of the request or of the repository.
type change func(files map[string]string, r *Request)

func ofRequest(f func(r *Request)) change { return func(_ map[string]string, r *Request) { f(r) } }

func inFile(file, old, new string) change {
	return func(files map[string]string, _ *Request) {
		if !strings.Contains(files[file], old) {
			panic(old + " is not in " + file)
		}
		files[file] = strings.Replace(files[file], old, new, 1)
	}
}

// checkKeys checks that each change gives a key of its own, and that none of the
// others changes it.
func checkKeys(t *testing.T, p planned, files map[string]string, req Request, changes, same map[string]change) {
	t.Helper()
	if len(changes) < 25 {
		t.Errorf("only %d changes", len(changes))
	}
	key := func(c change) string {
		files, r := maps.Clone(files), req
		r.Requirements, r.CondaRequirements, r.CondaChannels = slices.Clone(req.Requirements), slices.Clone(req.CondaRequirements), slices.Clone(req.CondaChannels)
		r.ExtraIndexURLs = slices.Clone(req.ExtraIndexURLs)
		c(files, &r)
		if len(files) > 0 {
			r.BaseDir = filepath.Join(newState(t), "repo")
			writeFiles(t, r.BaseDir, files)
		}
		return p.key(t, r)
	}
	base := key(func(map[string]string, *Request) {})
	seen := map[string]string{base: "the request itself"}
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		k := key(changes[name])
		if other, ok := seen[k]; ok {
			t.Errorf("%q gives the key of %q", name, other)
		}
		seen[k] = name
	}
	for _, name := range slices.Sorted(maps.Keys(same)) {
		if key(same[name]) != base {
			t.Errorf("%q changes the key", name)
		}
	}
}

// interpreters are changes of the Python that a manager is given.
func interpreters(more map[string]change) map[string]change {
	all := map[string]change{
		"python version": ofRequest(func(r *Request) { r.Python.Version = "3.11.5" }),
		"python abi":     ofRequest(func(r *Request) { r.Python.ABI = "cpython-311d" }),
		"implementation": ofRequest(func(r *Request) { r.Python.Implementation = "pypy" }),
		"platform":       ofRequest(func(r *Request) { r.Python.Platform = "linux-aarch64" }),
		"libc":           ofRequest(func(r *Request) { r.Python.Libc = "musl" }),
		"interpreter":    ofRequest(func(r *Request) { r.Python.Path = "/opt/bin/python3.11" }),
		"prefix":         ofRequest(func(r *Request) { r.Python.Prefix = "/opt" }),
		"base prefix":    ofRequest(func(r *Request) { r.Python.BasePrefix = "/opt" }),
		"build":          ofRequest(func(r *Request) { r.Python.Build = "3.11.4 (main) [GCC 13]" }),
	}
	maps.Copy(all, more)
	return all
}

func TestKeysOfUVLists(t *testing.T) {
	t.Parallel()
	p := newPlanned(t, nil)
	req := someRequest()
	req.Manager = ManagerUV
	checkKeys(t, p, nil, req, interpreters(map[string]change{
		"the manager":          ofRequest(func(r *Request) { r.Manager = ManagerPip }),
		"uv's version":         ofRequest(func(r *Request) { r.Versions = map[string]string{ManagerUV: "0.9.1"} }),
		"another version":      ofRequest(func(r *Request) { r.Requirements[0] = "six==1.15.0" }),
		"one package more":     ofRequest(func(r *Request) { r.Requirements = append(r.Requirements, "more") }),
		"one package less":     ofRequest(func(r *Request) { r.Requirements = r.Requirements[1:] }),
		"an extra less":        ofRequest(func(r *Request) { r.Requirements[1] = "foo-bar[x]>=1,<2; python_version>'3'" }),
		"another marker":       ofRequest(func(r *Request) { r.Requirements[1] = "foo-bar[x,y]>=1,<2; python_version>'4'" }),
		"a hash":               ofRequest(func(r *Request) { r.Requirements[0] += " --hash=sha256:" + strings.Repeat("a", 64) }),
		"a URL":                ofRequest(func(r *Request) { r.Requirements[0] = "six @ https://h/six-1-py3-none-any.whl" }),
		"a VCS URL":            ofRequest(func(r *Request) { r.Requirements[0] = "six @ git+https://h/six@v1" }),
		"an option":            ofRequest(func(r *Request) { r.Requirements = append(r.Requirements, "--pre") }),
		"no binary":            ofRequest(func(r *Request) { r.Requirements = append(r.Requirements, "--no-binary :all:") }),
		"index in the list":    ofRequest(func(r *Request) { r.Requirements[2] = "--extra-index-url https://other/simple" }),
		"constraint":           ofRequest(func(r *Request) { r.Constraints = []string{"baz<4"} }),
		"index":                ofRequest(func(r *Request) { r.IndexURL = "https://index/other" }),
		"default index":        ofRequest(func(r *Request) { r.IndexURL = "" }),
		"one extra index less": ofRequest(func(r *Request) { r.ExtraIndexURLs = r.ExtraIndexURLs[:1] }),
		"order of indexes":     ofRequest(func(r *Request) { slices.Reverse(r.ExtraIndexURLs) }),
		"system packages":      ofRequest(func(r *Request) { r.SystemSite = true }),
		"a lock":               ofRequest(func(r *Request) { r.Lock = someLock(ManagerUV, "a") }),
		"another lock":         ofRequest(func(r *Request) { r.Lock = someLock(ManagerUV, "b") }),
	}), map[string]change{
		"the order of lines": ofRequest(func(r *Request) { r.Requirements[0], r.Requirements[1] = r.Requirements[1], r.Requirements[0] }),
		"other spellings":    ofRequest(func(r *Request) { r.Requirements[0] = "SIX == 1.16.0  # pinned" }),
		"the password":       ofRequest(func(r *Request) { r.IndexURL = "https://user:hunter99@index/simple/" }),
		"the time-out":       ofRequest(func(r *Request) { r.Timeout, r.ResolveAge = 1, 2 }),
	})
}

func someLock(manager, digit string) *Lock {
	return &Lock{Manager: manager, Python: "3.11.4", Packages: []string{"six==1.16.0 --hash=sha256:" + strings.Repeat(digit, 64)}}
}

const uvLockFile = `version = 1
requires-python = ">=3.11"

[[package]]
name = "demo"
version = "0.1.0"
source = { virtual = "." }
dependencies = [{ name = "six" }]

[[package]]
name = "six"
version = "1.16.0"
source = { registry = "https://index/simple" }
wheels = [{ url = "https://index/six.whl", hash = "sha256:aa" }]
`

const uvPyproject = `[project]
name = "demo"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["six"]
[project.optional-dependencies]
fast = ["speedy"]
[dependency-groups]
lint = ["linter"]
[tool.ruff]
line-length = 1
`

func TestKeysOfUVProjects(t *testing.T) {
	t.Parallel()
	p := newPlanned(t, nil)
	req := Request{
		Manager: ManagerUV, Python: somePython(), Project: Project{ProjectUV, "uv.lock"}, UID: SameUser, GID: SameUser,
		Groups: []string{"lint"}, IndexURL: "https://user:hunter22@index/simple",
	}
	files := map[string]string{"uv.lock": uvLockFile, "pyproject.toml": uvPyproject, "README": "x"}
	checkKeys(t, p, files, req, interpreters(map[string]change{
		"uv's version":           ofRequest(func(r *Request) { r.Versions = map[string]string{ManagerUV: "0.9.1"} }),
		"a version in the lock":  inFile("uv.lock", "1.16.0", "1.15.0"),
		"a digest in the lock":   inFile("uv.lock", "sha256:aa", "sha256:bb"),
		"a source of the lock":   inFile("uv.lock", "https://index/simple", "https://other/simple"),
		"a package from here":    inFile("uv.lock", `{ registry = "https://index/simple" }`, `{ directory = "libs/six" }`),
		"a dependency":           inFile("pyproject.toml", `["six"]`, `["six", "more"]`),
		"an optional dependency": inFile("pyproject.toml", `"speedy"`, `"speedy>1"`),
		"a group's dependency":   inFile("pyproject.toml", `"linter"`, `"linter>1"`),
		"requires-python":        inFile("pyproject.toml", `">=3.11"`, `">=3.10"`),
		"settings of uv":         inFile("pyproject.toml", "[tool.ruff]", "[tool.uv]\nno-binary = true\n[tool.ruff]"),
		"uv's own file":          func(files map[string]string, _ *Request) { files["uv.toml"] = "no-build = true\n" },
		"another group":          ofRequest(func(r *Request) { r.Groups = []string{"lint", "more"} }),
		"no group":               ofRequest(func(r *Request) { r.Groups = nil }),
		"an extra":               ofRequest(func(r *Request) { r.Extras = []string{"fast"} }),
		"the index":              ofRequest(func(r *Request) { r.IndexURL = "https://other/simple" }),
		"an extra index":         ofRequest(func(r *Request) { r.ExtraIndexURLs = []string{"https://other/simple"} }),
		"system packages":        ofRequest(func(r *Request) { r.SystemSite = true }),
	}), map[string]change{
		"another file":       inFile("README", "x", "y"),
		"a linter's setting": inFile("pyproject.toml", "line-length = 1", "line-length = 2"),
		"a comment":          inFile("pyproject.toml", "[tool.ruff]", "# why\n[tool.ruff]"),
		"the password":       ofRequest(func(r *Request) { r.IndexURL = "https://user:hunter33@index/simple" }),
		"a group twice":      ofRequest(func(r *Request) { r.Groups = []string{"lint", "lint"} }),
		"requirements":       ofRequest(func(r *Request) { r.Requirements = []string{"x"} }),
	})
}
