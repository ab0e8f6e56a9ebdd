package envcache

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What can't be built gives the likely cause and uv's own words, and leaves
// nothing behind.
func TestUVFailedBuilds(t *testing.T) {
	t.Parallel()
	x := faultyIndex(t)
	private := newIndexServer(t, "user", "hunter22")
	private.add(wheel("here", "1.0"))
	c := newUVCache(t, Options{Getenv: environ(map[string]string{"PIP_RETRIES": "0"})})
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
		index       string
		cause, says string
		lines       []string
	}{
		"no such package":  {x.url(), "the index has no package nosuch", "nosuch was not found", []string{"nosuch==1"}},
		"no such version":  {x.url(), "not in the index", "no version of here==9", []string{"here==9"}},
		"contradiction":    {x.url(), "contradict each other", "unsatisfiable", []string{"here", "other<2"}},
		"another platform": {x.url(), "no release for Python 3.", "win32", []string{"foreign"}},
		"another Python":   {x.url(), "no release for Python 3.", ">=3.99", []string{"future"}},
		"wrong hash":       {x.url(), "not the one whose hash", "sha256:" + sum, []string{"other==1.0 --hash=sha256:" + sum}},
		"not all hashed":   {x.url(), "with hashes", "here is given without", []string{"here==1.0", "other==2.0 --hash=sha256:" + sum}},
		"build fails":      {x.url(), "could not be built from its source", "the compiler of broken is not happy", []string{"broken"}},
		"index is down":    {"http://127.0.0.1:1/simple", "index can't be reached", "127.0.0.1:1", []string{"here"}},
		"no credentials":   {private.url(), "refuses the credentials", "", []string{"here"}},
		"git is down":      {x.url(), "can't be reached", "127.0.0.1", []string{"y @ git+http://127.0.0.1:1/y.git"}},
		"not a line":       {x.url(), "line of the requirements is not valid", "here==", []string{"here=="}},
		"unknown option":   {x.url(), "not valid", "Unexpected", []string{"--frobnicate", "here"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s said
			_, err := c.Acquire(t.Context(), uvRequest(t, tc.index, tc.lines...), s.hear)
			var failed *BuildError
			if !errors.As(err, &failed) || !strings.Contains(failed.Cause, tc.cause) || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("err = %v\ncause = %+v", err, failed)
			}
		})
	}
}

// faultyIndex has packages that fail in many ways.
func faultyIndex(t *testing.T) *indexServer {
	t.Helper()
	x := newIndexServer(t, "", "")
	x.add(wheel("here", "1.0", "other>=2"))
	x.add(wheel("other", "1.0"))
	x.add(wheel("other", "2.0"))
	x.add(sdist("broken", "1.0", map[string]string{"fail.txt": ""}))
	file, data := wheel("foreign", "1.0")
	x.add(strings.Replace(file, "none-any", "none-win32", 1), data)
	future, data := wheelFor("future", "1.0", ">=3.99")
	x.add(future, data)
	return x
}

// wheelFor is a wheel for some Pythons only.
func wheelFor(name, version, python string) (file string, data []byte) {
	return wheel(name, version, "nothing; python_version < '0'\nRequires-Python: "+python)
}

// Credentials reach uv by files that are gone afterwards; they are in no command
// line, environment, record, message or file that stays.
func TestUVPrivateIndex(t *testing.T) {
	t.Parallel()
	const password = "hunter22-%s/x"
	x := newIndexServer(t, "user", password)
	x.add(wheel("secretive", "1.0"))
	x.add(sdist("tooled", "1.0", map[string]string{ // its build asks the index, too
		"pyproject.toml": "[build-system]\nrequires = [\"secretive\"]\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n",
	}))
	netrc := filepath.Join(t.TempDir(), "netrc")
	writeFiles(t, filepath.Dir(netrc), map[string]string{"netrc": "machine 127.0.0.1\n login user\n password " + password + "\n"})
	escaped := strings.NewReplacer("%", "%25", "/", "%2F").Replace(password)
	for name, req := range map[string]Request{
		"in the URL":  {IndexURL: x.urlWith("user:" + escaped)},
		"in the list": {IndexURL: newIndexServer(t, "", "").url(), Requirements: []string{"--extra-index-url " + x.urlWith("user:"+escaped)}},
		"in a file":   {IndexURL: x.url(), CredentialsFile: netrc},
		"of the host": {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := map[string]string{"UV_INDEX_URL": x.urlWith("user:" + escaped), "PIP_INDEX_URL": x.urlWith("user:" + escaped)}
			watch := &spy{Exec: HostExec{}}
			c := newUVCache(t, Options{Exec: watch, Getenv: environ(env)})
			ask := uvRequest(t, req.IndexURL, append(req.Requirements, "secretive==1.0", "tooled==1.0")...)
			ask.CredentialsFile = req.CredentialsFile
			var s said
			l, err := c.Acquire(t.Context(), ask, s.hear)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if python(t, l.Python, "-c", "import secretive, tooled; print(tooled.version)") != "1.0" {
				t.Error("not installed")
			}
			for _, bad := range []string{password, escaped, "hunter22"} {
				for _, cmd := range watch.ran() {
					if all := strings.Join(append(cmd.Args, cmd.Env...), "\n"); strings.Contains(all, bad) {
						t.Errorf("a command holds the password:\n%s", all)
					}
				}
				if strings.Contains(s.text(), bad) {
					t.Errorf("the progress holds the password:\n%s", s.text())
				}
				if out, err := exec.Command("grep", "-rlF", bad, c.state).Output(); err == nil {
					t.Errorf("files hold the password: %s", out)
				}
			}
		})
	}
}

// gitServer serves a repository to whoever knows the password.
func gitServer(t *testing.T, dir, password string) (url string) {
	t.Helper()
	if out, err := exec.Command("git", "-C", dir, "update-server-info").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	files := http.StripPrefix("/r.git", http.FileServer(http.Dir(filepath.Join(dir, ".git"))))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, got, _ := r.BasicAuth(); got != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL + "/r.git"
}

func TestUVRepositoryWithAToken(t *testing.T) {
	t.Parallel()
	const token = "ghp-hunter22"
	dir, commit := gitRepo(t, project("fromgit", "8.0", nil))
	url := gitServer(t, dir, token)
	watch := &spy{Exec: HostExec{}}
	c := newUVCache(t, Options{Exec: watch})
	var s said
	req := uvRequest(t, newIndexServer(t, "", "").url(), "fromgit @ git+"+strings.Replace(url, "://", "://"+token+"@", 1)+"@main")
	l, err := c.Acquire(t.Context(), req, s.hear)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if want := []string{"fromgit @ git+" + url + "@" + commit}; !slices.Equal(l.Frozen, want) || !slices.Equal(l.Lock.Packages, want) || !l.Lock.Built {
		t.Errorf("frozen %q, lock %+v", l.Frozen, l.Lock)
	}
	for _, cmd := range watch.ran() {
		if all := strings.Join(append(cmd.Args, cmd.Env...), "\n"); strings.Contains(all, token) {
			t.Errorf("a command holds the token:\n%s", all)
		}
	}
	if out, err := exec.Command("grep", "-rlF", token, c.state).Output(); err == nil || strings.Contains(s.text(), token) {
		t.Errorf("the token is in the progress or in files: %s\n%s", out, s.text())
	}
	req.Requirements[0] = strings.Replace(req.Requirements[0], token, "ghp-wrong", 1)
	if _, err = newUVCache(t, Options{}).Acquire(t.Context(), req, nil); err == nil || !strings.Contains(err.Error(), "refuses the credentials") || strings.Contains(err.Error(), "ghp-wrong") {
		t.Errorf("with a wrong token: %v", err)
	}
}
