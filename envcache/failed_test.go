package envcache

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"agentctl/envcache/internal/talk"
)

// What can't be built gives the likely cause and pip's own last lines, and
// leaves nothing behind.
func TestFailedBuilds(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "", "")
	x.add(wheel("here", "1.0", "other>=2"))
	x.add(wheel("other", "1.0"))
	x.add(wheel("other", "2.0"))
	x.add(sdist("broken", "1.0", map[string]string{"fail.txt": ""}))
	x.add(sdist("stuck", "1.0", map[string]string{"hang.txt": ""}))
	x.add(sdist("talkative", "1.0", map[string]string{"talk.txt": ""}))
	x.add(sdist("needy", "1.0", map[string]string{
		"pyproject.toml": "[build-system]\nrequires = [\"nosuch\"]\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n",
	}))
	x.add(wheelWith("newer", "1.0", "Requires-Python: >=3.99\n"))
	file, data := wheel("told", "2.0")
	x.add(file, data)
	x.python = map[string]string{file: ">=3.99,<4"}
	for _, tag := range []string{"cp36-cp36m-any", "cp310-cp310-any", "cp27-none-any"} {
		x.add("tagged-1.0-"+tag+".whl", data)
	}
	x.add("elsewhere-1.0-py3-none-win_amd64.whl", data)
	x.add("elsewhere-1.0-py3-none-macosx_11_0_arm64.whl", data)
	vcs, _ := gitRepo(t, project("fromgit", "8.0", nil))
	private := newIndexServer(t, "user", "hunter22")
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	t.Cleanup(broken.Close)
	c := newCache(t, Options{Silent: 30 * time.Second, Getenv: environ(map[string]string{"PIP_RETRIES": "0"})})
	py := hostPython(t, SameUser)
	t.Cleanup(func() { // after all of them
		if bad := litter(t, c.state); bad != nil {
			t.Errorf("left over: %v", bad)
		}
		if entries, err := c.Entries(); err != nil || len(entries) != 0 {
			t.Errorf("entries: %+v, %v", entries, err)
		}
	})
	sum := strings.Repeat("0", 64)
	for name, tc := range map[string]struct {
		lines       []string
		index       string
		cause, says string
	}{
		"no such package":  {[]string{"nosuch==1"}, x.url(), "the index has no package nosuch", "No matching distribution found for nosuch==1"},
		"no such version":  {[]string{"here==9"}, x.url(), "the index has no here==9 for Python " + py.Version + "; the newest there are: 1.0", "from versions: 1.0"},
		"no range":         {[]string{"here[x]>=9"}, x.url(), "the index has no here>=9 for Python " + py.Version, "from versions: 1.0"},
		"newer Python":     {[]string{"newer"}, x.url(), "newer needs Python >=3.99, and this is " + py.Version, ""},
		"the page tells":   {[]string{"told"}, x.url(), "told needs Python >=3.99,<4, and this is " + py.Version, ""},
		"other Pythons":    {[]string{"tagged==1.0"}, x.url(), "tagged 1.0 has wheels for Python 2.7, 3.6, 3.10 only, and this is " + py.Version, ""},
		"other platforms":  {[]string{"elsewhere"}, x.url(), "only: macosx_11_0_arm64, win_amd64", ""},
		"contradiction":    {[]string{"here", "other<2"}, x.url(), "contradict each other", "ResolutionImpossible"},
		"wrong hash":       {[]string{"other==1.0 --hash=sha256:" + sum}, x.url(), "other is not the one whose hash", "Expected sha256 " + sum},
		"not all hashed":   {[]string{"here==1.0", "other==1.0 --hash=sha256:" + sum}, x.url(), "with hashes", "require-hashes"},
		"hash and commit":  {[]string{"fromgit @ git+file://" + vcs, "other==1.0 --hash=sha256:" + sum}, x.url(), "which have none", ""},
		"no such commit":   {[]string{"fromgit @ git+file://" + vcs + "@nosuch"}, x.url(), "no such branch, tag or commit", ""},
		"build fails":      {[]string{"broken"}, x.url(), "broken could not be built from its source", "the compiler of broken is not happy"},
		"build needs":      {[]string{"needy"}, x.url(), "needy could not be built from its source: the index has no package nosuch", ""},
		"build hangs":      {[]string{"stuck"}, x.url(), "", "no sign of life for 30s"},
		"build never ends": {[]string{"talkative"}, x.url(), "", "the build took longer than 10s"},
		"index is down":    {[]string{"here"}, "http://127.0.0.1:1/simple", "index can't be reached", ""},
		"index is broken":  {[]string{"here"}, broken.URL, "the package index answers 503", ""},
		"no credentials":   {[]string{"here"}, private.url(), "refuses the credentials", ""},
		"not a line":       {[]string{"here=="}, x.url(), "line of the requirements is not valid", "here=="},
		"unknown option":   {[]string{"--frobnicate", "here"}, x.url(), "not valid", "--frobnicate"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s said
			req := Request{Python: py, IndexURL: tc.index, Requirements: tc.lines, UID: SameUser, GID: SameUser}
			if name == "build never ends" {
				req.Timeout = 10 * time.Second
			}
			_, err := c.Acquire(t.Context(), req, s.hear)
			var failed *BuildError
			if !errors.As(err, &failed) || !strings.Contains(failed.Cause, tc.cause) || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("err = %v\ncause = %+v", err, failed)
			}
			var silence talk.Silence
			if hung := errors.As(err, &silence); hung != (name == "build hangs") {
				t.Errorf("hung = %v", hung)
			}
		})
	}
}

// What managers say about well known failures, besides those above.
func TestCauses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"OSError: [Errno 28] No space left on device":                                                                  "the disk is full",
		"error: command 'gcc' failed: No such file or directory":                                                       "no C compiler",
		"error: command 'x86_64-linux-gnu-gcc' failed: No such file or folder":                                         "no C compiler",
		"x.c:1:10: fatal error: Python.h: No such file or directory":                                                   "Python's headers",
		"error: can't find Rust compiler":                                                                              "Rust",
		"SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed":             "certificate",
		"Temporary failure in name resolution":                                                                         "can't be reached",
		"ERROR: HTTP error 403 while getting https://h/x.whl\nERROR: No matching distribution found for x":             "refuses the credentials",
		"fatal: could not read Username for 'https://h': terminal prompts disabled\nERROR: Failed to build 'x' when y": "refuses the credentials",
		"error: command 'gcc' failed with exit code 1\n  ERROR: Failed building wheel for my.pkg\nFailed to build x":   "my.pkg could not be built from its source",
		"error: metadata-generation-failed\n╰─> my-pkg\nnote: x":                                                       "my-pkg could not be built from its source",
		"all is well": "",
	} {
		if got := causeOf(text, "3.11.7"); !strings.Contains(got, want) || (got == "") != (want == "") {
			t.Errorf("%s: %q", text, got)
		}
	}
}

func TestWheelTags(t *testing.T) {
	t.Parallel()
	for name, fits := range map[string]bool{
		"a-1-py3-none-any.whl": true, "a-1-py2.py3-none-any.whl": true, "a-1-1-cp311-cp311-linux_x86_64.whl": true, "a-1-cp310-cp310-any.whl": false,
		"a-1-cp38-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl": true, "a-1-cp312-abi3-any.whl": false, "a-1-py38-none-any.whl": true,
		"a-1-cp38.cp311-cp38.cp311-any.whl": true, "a-1-pp39-pypy39_pp73-any.whl": false, "a-1-py2-none-any.whl": false, "a-1-cp37-none-any.whl": true,
	} {
		w, ok := parseWheel(name)
		if !ok || w.fits([3]int{3, 11, 7}) != fits {
			t.Errorf("%s: %+v, %v", name, w, ok)
		}
	}
}

func FuzzMissing(f *testing.F) {
	f.Add("a-1-cp311-abi3-linux_x86_64.whl", ">=3.9", "1")
	f.Add("a-1.tar.gz", "", "")
	f.Fuzz(func(t *testing.T, file, requires, version string) {
		w := missingPackage{name: "a", version: version, python: Interpreter{Version: "3.11.7", Platform: "linux-x86_64"}}
		if got := w.from([]pageFile{{name: file, requires: requires}}); strings.Count(got, "and this is") > 1 {
			t.Fatal(got)
		}
	})
}
