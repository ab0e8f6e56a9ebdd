package envcache

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// keyer computes the key of a request as a cache in one fixed place would.
type keyer struct{ b *pipBuilder }

func newKeyer(t *testing.T, env map[string]string) keyer {
	t.Helper()
	state := newState(t)
	// A pip that is there is not fetched.
	for _, v := range []string{pipVersion, "24.0"} {
		if err := os.MkdirAll(filepath.Join(state, "tools", "pip-"+v), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	getenv := environ(env)
	return keyer{&pipBuilder{state: state, tools: &pipTools{dir: filepath.Join(state, "tools"), now: time.Now}, getenv: getenv}}
}

func (k keyer) parts(t interface{ Fatal(...any) }, req Request) []Part {
	p, err := k.b.plan(context.Background(), req, func(Progress) {})
	if err != nil {
		t.Fatal(err)
	}
	return append(commonParts(req, "/state/envs", false), p.parts...)
}

func (k keyer) key(t interface{ Fatal(...any) }, req Request) string { return keyOf(k.parts(t, req)) }

func somePython() Interpreter {
	return Interpreter{
		Path: "/usr/bin/python3.11", Version: "3.11.4", Implementation: "cpython", ABI: "cpython-311-x86_64-linux-gnu",
		Platform: "linux-x86_64", Libc: "glibc 2.36", Prefix: "/usr", BasePrefix: "/usr", Build: "3.11.4 (main) [GCC 12]",
		Sites: []string{"/nonexistent/site-packages"},
	}
}

func someRequest() Request {
	return Request{
		Manager: ManagerPip, Python: somePython(), Requirements: []string{"six==1.16.0", "Foo_Bar[x,y]>=1,<2; python_version>'3'", "--extra-index-url https://extra/simple"},
		Constraints: []string{"baz<3"}, IndexURL: "https://user:hunter22@index/simple", ExtraIndexURLs: []string{"https://a/s", "https://b/s"},
		UID: SameUser, GID: SameUser,
	}
}

// Each of these changes what gets installed, so each must change the key.
func TestEveryInputChangesTheKey(t *testing.T) {
	k := newKeyer(t, nil)
	site := t.TempDir()
	mutations := map[string]func(*Request){
		"python version":              func(r *Request) { r.Python.Version = "3.11.5" },
		"python abi":                  func(r *Request) { r.Python.ABI = "cpython-311d" },
		"implementation":              func(r *Request) { r.Python.Implementation = "pypy" },
		"platform":                    func(r *Request) { r.Python.Platform = "linux-aarch64" },
		"libc":                        func(r *Request) { r.Python.Libc = "musl" },
		"libc version":                func(r *Request) { r.Python.Libc = "glibc 2.17" },
		"interpreter":                 func(r *Request) { r.Python.Path = "/opt/bin/python3.11" },
		"prefix":                      func(r *Request) { r.Python.Prefix = "/opt" },
		"base prefix":                 func(r *Request) { r.Python.BasePrefix = "/opt" },
		"build":                       func(r *Request) { r.Python.Build = "3.11.4 (main) [GCC 13]" },
		"another version":             func(r *Request) { r.Requirements[0] = "six==1.15.0" },
		"another operator":            func(r *Request) { r.Requirements[0] = "six>=1.16.0" },
		"another package":             func(r *Request) { r.Requirements[0] = "sex==1.16.0" },
		"one package more":            func(r *Request) { r.Requirements = append(r.Requirements, "more") },
		"one package less":            func(r *Request) { r.Requirements = r.Requirements[1:] },
		"no package":                  func(r *Request) { r.Requirements = nil },
		"an extra more":               func(r *Request) { r.Requirements[1] = "foo-bar[x,y,z]>=1,<2; python_version>'3'" },
		"an extra less":               func(r *Request) { r.Requirements[1] = "foo-bar[x]>=1,<2; python_version>'3'" },
		"another marker":              func(r *Request) { r.Requirements[1] = "foo-bar[x,y]>=1,<2; python_version>'4'" },
		"no marker":                   func(r *Request) { r.Requirements[1] = "foo-bar[x,y]>=1,<2" },
		"a hash":                      func(r *Request) { r.Requirements[0] += " --hash=sha256:" + strings.Repeat("a", 64) },
		"a URL":                       func(r *Request) { r.Requirements[0] = "six @ https://h/six.whl" },
		"a VCS URL":                   func(r *Request) { r.Requirements[0] = "six @ git+https://h/six@v1" },
		"an option":                   func(r *Request) { r.Requirements = append(r.Requirements, "--pre") },
		"no binary":                   func(r *Request) { r.Requirements = append(r.Requirements, "--no-binary :all:") },
		"index in the list":           func(r *Request) { r.Requirements[2] = "--extra-index-url https://other/simple" },
		"constraint":                  func(r *Request) { r.Constraints = []string{"baz<4"} },
		"no constraint":               func(r *Request) { r.Constraints = nil },
		"constraint as a requirement": func(r *Request) { r.Requirements, r.Constraints = append(r.Requirements, "baz<3"), nil },
		"index":                       func(r *Request) { r.IndexURL = "https://index/other" },
		"index host":                  func(r *Request) { r.IndexURL = "https://index2/simple" },
		"default index":               func(r *Request) { r.IndexURL = "" },
		"one extra index less":        func(r *Request) { r.ExtraIndexURLs = r.ExtraIndexURLs[:1] },
		"order of indexes":            func(r *Request) { slices.Reverse(r.ExtraIndexURLs) },
		"image":                       func(r *Request) { r.Root = &Root{ID: "sha256:1"} },
		"another image":               func(r *Request) { r.Root = &Root{ID: "sha256:2"} },
		"system packages":             func(r *Request) { r.SystemSite = true },
		"a package before the rest":   func(r *Request) { r.Priority = []string{"SIX", "absent"} },
		"a package after the rest":    func(r *Request) { r.Post = []string{"six"} },
		"pip's version":               func(r *Request) { r.Versions = map[string]string{ManagerPip: "24.0"} },
		"system packages elsewhere":   func(r *Request) { r.SystemSite, r.Python.Sites = true, []string{site} },
	}
	if os.Geteuid() == 0 {
		mutations["user"] = func(r *Request) { r.UID, r.GID = 1234, 0 }
		mutations["group"] = func(r *Request) { r.UID, r.GID = 1234, 5 }
	}
	if len(mutations) < 25 {
		t.Fatalf("only %d mutations", len(mutations))
	}
	seen := map[string]string{k.key(t, someRequest()): "the request itself"}
	for _, name := range slices.Sorted(maps.Keys(mutations)) {
		req := someRequest()
		mutations[name](&req)
		key := k.key(t, req)
		if other, ok := seen[key]; ok {
			t.Errorf("%q gives the key of %q", name, other)
		}
		seen[key] = name
	}
	// What the request does not say: the place, the manager, the host's settings.
	if keyOf(append(commonParts(someRequest(), "/other/envs", false), k.parts(t, someRequest())[len(commonParts(someRequest(), "", false)):]...)) == k.key(t, someRequest()) {
		t.Error("the place is not in the key")
	}
	req := someRequest()
	req.IndexURL = ""
	if newKeyer(t, map[string]string{"PIP_INDEX_URL": "https://elsewhere/simple"}).key(t, req) == k.key(t, req) {
		t.Error("the host's index is not in the key")
	}
}

// The same environment by other words has the same key.
func TestOtherWordsSameKey(t *testing.T) {
	k := newKeyer(t, nil)
	want := k.key(t, someRequest())
	rapid.Check(t, func(t *rapid.T) {
		req := someRequest()
		req.Requirements[0] = rapid.SampledFrom([]string{"six==1.16.0", "SIX == 1.16.0", "Six==1.16.0 # pinned", "six (==1.16.0)"}).Draw(t, "six")
		req.Requirements[1] = rapid.SampledFrom([]string{
			"Foo_Bar[x,y]>=1,<2; python_version>'3'", "foo.bar[Y, x] < 2, >= 1 ; python_version>\"3\"", "foo--bar[y,x] <2,>=1;python_version>'3'",
		}).Draw(t, "foo")
		req.Requirements[:2][0], req.Requirements[:2][1] = req.Requirements[1], req.Requirements[0]
		if rapid.Bool().Draw(t, "as text") {
			end := rapid.SampledFrom([]string{"\n", "\r\n", "\n\n# comment\n", "  \n"}).Draw(t, "end")
			req.Requirements = []string{strings.Join(req.Requirements, end)}
		}
		req.IndexURL = rapid.SampledFrom([]string{"https://index/simple", "https://index/simple/", "https://other:password@index/simple"}).Draw(t, "index")
		req.CredentialsFile = rapid.SampledFrom([]string{"", os.DevNull}).Draw(t, "netrc")
		req.BaseDir = rapid.SampledFrom([]string{"", os.TempDir()}).Draw(t, "repository that nothing is taken from")
		if got := k.key(t, req); got != want {
			t.Fatalf("%+v: another key", req)
		}
	})
}

func TestNoSecretInTheKey(t *testing.T) {
	k := newKeyer(t, nil)
	req := someRequest()
	req.Requirements = append(req.Requirements, "x @ git+https://tok:hunter33@h/r", "--find-links https://u:hunter44@f/")
	data, err := json.Marshal(k.parts(t, req))
	if err != nil || strings.Contains(string(data), "hunter") || strings.Contains(string(data), "tok:") {
		t.Fatalf("%s, %v", data, err)
	}
}

func TestRepositoryCountsOnlyIfSomethingIsInstalledFromIt(t *testing.T) {
	k := newKeyer(t, nil)
	a, b := repoDir(t, map[string]string{"r.txt": "six"}), repoDir(t, map[string]string{"r.txt": "six"})
	for line, same := range map[string]bool{"-r r.txt": true, "-e .": false, "./pkg": false} {
		one, two := someRequest(), someRequest()
		one.Requirements, two.Requirements = []string{line}, []string{line}
		one.BaseDir, two.BaseDir = a, b
		if got := k.key(t, one) == k.key(t, two); got != same {
			t.Errorf("%s: same key = %v", line, got)
		}
	}
	before := someRequest()
	before.Requirements, before.BaseDir = []string{"-r r.txt"}, a
	old := k.key(t, before)
	writeFiles(t, a, map[string]string{"r.txt": "six==1"})
	if k.key(t, before) == old {
		t.Error("another requirements file, the same key")
	}
}

func TestDifferenceInWords(t *testing.T) {
	k := newKeyer(t, nil)
	old := k.parts(t, someRequest())
	req := someRequest()
	req.Requirements[0] = "six==1.15.0"
	req.Python.Version = "3.12.0"
	got := difference(old, k.parts(t, req))
	for _, want := range []string{"python version: cpython 3.12.0, before cpython 3.11.4", "requirements: +six==1.15.0, -six==1.16.0"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	if d := difference(old, old); d != "" {
		t.Errorf("no difference: %q", d)
	}
	slices.Reverse(req.ExtraIndexURLs)
	if got := difference(old, k.parts(t, req)); !strings.Contains(got, "extra indexes: another order") {
		t.Errorf("%q", got)
	}
	if got := difference(old, append(slices.Clone(old), Part{Name: "new", Value: "x"})); got != "new: x, before none" {
		t.Errorf("%q", got)
	}
}

func TestNearestIsNamed(t *testing.T) {
	k := newKeyer(t, nil)
	base := k.parts(t, someRequest())
	near, far := someRequest(), someRequest()
	near.Requirements = append(near.Requirements, "more")
	far.Requirements, far.Python.ABI, far.IndexURL = []string{"other"}, "x", ""
	if a, b := distance(k.parts(t, near), base), distance(k.parts(t, far), base); a >= b || a == 0 || distance(base, base) != 0 {
		t.Fatalf("distances %d, %d", a, b)
	}
}

func ExampleProgress_String() {
	fmt.Println(Progress{Step: "venv", Text: "made", Took: 1234567 * time.Nanosecond})
	// Output: venv: made (1ms)
}
