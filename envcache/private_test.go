package envcache

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const privatePassword = "hunter22-%s/x"

// looking is what a package's build can see of secrets: it keeps its environment
// and the command lines of its parents in the wheel.
const looking = `
import os
def look():
    text, pid = repr(dict(os.environ)), os.getpid()
    while pid > 1:
        with open("/proc/%d/cmdline" % pid) as f:
            text += "\n" + f.read().replace("\0", " ")
        with open("/proc/%d/stat" % pid) as f:
            pid = int(f.read().rsplit(")", 1)[1].split()[1])
    return text
`

// newGitServer serves a repository to who has the password.
func newGitServer(t *testing.T, password, dir string) *httptest.Server {
	t.Helper()
	out, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		t.Skipf("this git has no HTTP server: %v", err)
	}
	handler := &cgi.Handler{Path: backend, Env: []string{
		"GIT_PROJECT_ROOT=" + filepath.Dir(dir), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
	}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, p, _ := r.BasicAuth(); p != password {
			w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// script writes an executable program of the operator.
func script(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// answering is a program that speaks git's protocol, and notes the questions.
func answering(t *testing.T, user, password string) (program, asked string) {
	t.Helper()
	asked = filepath.Join(t.TempDir(), "asked")
	return script(t, "vault", fmt.Sprintf(`{ echo "$@"; cat; } >> %s
printf 'username=%%s\npassword=%%s\nquit=0\n' '%s' '%s'
`, asked, user, password)), asked
}

// Credentials reach pip, git and what they run by files that are gone afterwards.
// They are in no command line, environment, record, message or file that stays.
func TestPrivateIndexAndRepository(t *testing.T) {
	t.Parallel()
	const token = "ghp_token4711"
	x := newIndexServer(t, "user", privatePassword)
	x.add(wheel("secretive", "1.0"))
	x.add(sdist("tooled", "1.0", map[string]string{
		// Its build needs a package of the index: pip runs itself for that.
		"pyproject.toml": "[build-system]\nrequires = [\"secretive\"]\nbuild-backend = \"backend\"\nbackend-path = [\".\"]\n",
		"look.txt":       "",
		"looking.py":     looking,
	}))
	vcs, commit := gitRepo(t, project("fromgit", "8.0", map[string]string{"look.txt": "", "looking.py": looking}))
	g := newGitServer(t, token, vcs)
	repo := strings.TrimPrefix(g.URL, "http://") + "/" + filepath.Base(vcs) + "/.git"
	netrc := filepath.Join(t.TempDir(), "netrc")
	writeFiles(t, filepath.Dir(netrc), map[string]string{
		"netrc":  "machine 127.0.0.1\n login user\n password " + privatePassword + "\n",
		"stale":  "machine 127.0.0.1 login user password stale4711\n",
		"others": "machine other.example login user password other4711\n",
	})
	vault, asked := answering(t, "user", privatePassword)
	// keyring knows hosts, and not the URLs of indexes.
	keyring := script(t, "keyring", fmt.Sprintf(`[ "$*" = "--backend x --mode creds --output json get %s" ] || exit 1
printf '{"username": "user", "password": "%s"}'
`, strings.TrimPrefix(x.URL, "http://"), strings.ReplaceAll(privatePassword, "%", "%%")))
	escaped := strings.NewReplacer("%", "%25", "/", "%2F").Replace(privatePassword)
	withToken := "fromgit @ git+http://" + token + "@" + repo + "@" + commit
	py := hostPython(t, SameUser)
	public := newIndexServer(t, "", "").url()
	for name, req := range map[string]Request{
		"in the URL":       {IndexURL: x.urlWith("user:" + escaped), Requirements: []string{withToken}},
		"in the extra URL": {IndexURL: public, ExtraIndexURLs: []string{x.urlWith("user:" + escaped)}},
		"in the list":      {IndexURL: public, Requirements: []string{"--extra-index-url " + x.urlWith("user:"+escaped)}},
		"in a file":        {IndexURL: x.url(), CredentialsFile: netrc, Requirements: []string{withToken}},
		"of the host":      {},
		"by a program": {
			IndexURL: x.url(), CredentialsFile: filepath.Join(filepath.Dir(netrc), "others"), CredentialsCommand: []string{vault, "--for", "tests"},
		},
		"by keyring":          {IndexURL: x.url(), CredentialsCommand: []string{keyring, "--backend", "x"}},
		"file before program": {IndexURL: x.url(), CredentialsFile: netrc, CredentialsCommand: []string{"/bin/false"}},
		"URL before both": {
			IndexURL: x.urlWith("user:" + escaped), CredentialsFile: filepath.Join(filepath.Dir(netrc), "stale"), CredentialsCommand: []string{"/bin/false"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// git is run by pip, which no Exec sees.
			gits := filepath.Join(t.TempDir(), "gits")
			dir := filepath.Dir(script(t, "git", "{ echo \"$@\"; env; cat /proc/$PPID/cmdline; } >> "+gits+"\nPATH=${PATH#*git-here:}\nexec git \"$@\"\n"))
			link := filepath.Join(t.TempDir(), "git-here")
			if err := os.Symlink(dir, link); err != nil {
				t.Fatal(err)
			}
			env := map[string]string{
				"AWS_SECRET_ACCESS_KEY": privatePassword, "PIP_INDEX_URL": x.urlWith("user:" + escaped), "PATH": link + ":" + os.Getenv("PATH"),
				"PIP_TRUSTED_HOST": "127.0.0.1", // pip keeps a cache of what comes from a trusted host only
			}
			watch := &spy{Exec: HostExec{}}
			c := newCache(t, Options{Exec: watch, Getenv: environ(env)})
			req.Python, req.UID, req.GID = py, SameUser, SameUser
			req.Requirements = append(req.Requirements, "secretive==1.0", "tooled==1.0")
			var s said
			l, err := c.Acquire(t.Context(), req, s.hear)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if python(t, l.Python, "-c", "import secretive, tooled; print(tooled.version)") != "1.0" {
				t.Fatal("not installed")
			}
			if out, err := exec.Command("grep", "-rlF", "PIP_CONFIG_FILE", l.Path).Output(); err != nil || len(out) == 0 {
				t.Fatalf("the build did not look around: %v", err)
			}
			if ran, _ := os.ReadFile(gits); strings.Contains(strings.Join(req.Requirements, ""), token) != strings.Contains(string(ran), "clone") {
				t.Fatalf("git was run so:\n%s", ran)
			}
			basic := base64.StdEncoding.EncodeToString([]byte("user:" + privatePassword))
			for _, bad := range []string{privatePassword, escaped, "hunter22", basic, token, "other4711", "stale4711"} {
				for _, cmd := range watch.ran() {
					if all := strings.Join(append(cmd.Args, cmd.Env...), "\n"); strings.Contains(all, bad) {
						t.Errorf("a command holds %s:\n%s", bad, all)
					}
				}
				if strings.Contains(s.text(), bad) {
					t.Errorf("the progress holds %s:\n%s", bad, s.text())
				}
				if out, err := exec.Command("grep", "-rlF", bad, c.state).Output(); err == nil {
					t.Errorf("files hold %s: %s", bad, out)
				}
				if ran, err := os.ReadFile(gits); err == nil && strings.Contains(string(ran), bad) {
					t.Errorf("a command of git, or its environment, holds %s", bad)
				}
			}
		})
	}
	t.Cleanup(func() { // after all of them
		text, _ := os.ReadFile(asked)
		host := strings.TrimPrefix(x.URL, "http://")
		if want := "--for tests get\nprotocol=http\nhost=" + host + "\npath=simple\n\n"; string(text) != want {
			t.Errorf("the program was asked\n%snot\n%s", text, want)
		}
	})
}

// Each repository may have credentials of its own.
func TestProgramForARepository(t *testing.T) {
	t.Parallel()
	vcs, commit := gitRepo(t, project("fromgit", "8.0", nil))
	g := newGitServer(t, "ghp_token4711", vcs)
	link := g.URL + "/" + filepath.Base(vcs) + "/.git"
	vault, asked := answering(t, "", "ghp_token4711")
	c := newCache(t, Options{})
	l := acquire(t, c, Request{
		Python: hostPython(t, SameUser), IndexURL: newIndexServer(t, "", "").url(), UID: SameUser, GID: SameUser,
		CredentialsFile: writeNetrc(t, "default login nobody password nothing4711"), CredentialsCommand: []string{vault},
		Requirements: []string{"fromgit @ git+" + link + "@" + commit + "#egg=fromgit"},
	})
	if l.Frozen[0] != "fromgit @ git+"+link+"@"+commit {
		t.Fatalf("%q", l.Frozen)
	}
	text, err := os.ReadFile(asked)
	if want := "path=" + filepath.Base(vcs) + "/.git\n"; err != nil || strings.Count(string(text), "get\n") != 2 || !strings.Contains(string(text), want) {
		t.Fatalf("asked %q, %v", text, err)
	}
}

func writeNetrc(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "netrc")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// A hit needs no credentials: neither file nor program has to be there, nor is
// either looked at.
func TestAHitNeedsNoCredentials(t *testing.T) {
	t.Parallel()
	x := newIndexServer(t, "user", privatePassword)
	x.add(wheel("secretive", "1.0"))
	vault, asked := answering(t, "user", privatePassword)
	c := newCache(t, Options{})
	req := Request{
		Python: hostPython(t, SameUser), IndexURL: x.url(), UID: SameUser, GID: SameUser, Requirements: []string{"secretive"},
		CredentialsCommand: []string{vault},
	}
	first := acquire(t, c, req)
	before, err := os.ReadFile(asked)
	if err != nil {
		t.Fatal(err)
	}
	req.CredentialsFile = "/nonexistent/netrc"
	if again := acquire(t, c, req); !again.Hit || again.Key != first.Key {
		t.Fatalf("%+v", again)
	}
	if after, _ := os.ReadFile(asked); len(after) != len(before) {
		t.Fatal("a hit asked for credentials")
	}
	if _, err := c.Acquire(t.Context(), req.with("secretive>=0.5"), nil); err == nil || !strings.Contains(err.Error(), "cannot read the credentials: open /nonexistent") {
		t.Fatalf("err = %v", err)
	}
}

func TestWrongCredentialsAreNotShown(t *testing.T) {
	t.Parallel()
	x, open := newIndexServer(t, "user", "right"), newIndexServer(t, "", "")
	vcs, _ := gitRepo(t, project("fromgit", "8.0", nil))
	g := newGitServer(t, "right", vcs)
	c := newCache(t, Options{})
	req := Request{Python: hostPython(t, SameUser), UID: SameUser, GID: SameUser}
	repo := "git+" + strings.Replace(g.URL, "http://", "http://wrong-one@", 1) + "/" + filepath.Base(vcs) + "/.git"
	for url, line := range map[string]string{x.urlWith("user:wrong-one"): "x", open.url(): "fromgit @ " + repo} {
		req.IndexURL = url
		var s said
		_, err := c.Acquire(t.Context(), req.with(line), s.hear)
		if err == nil || strings.Contains(err.Error()+s.text(), "wrong-one") || !strings.Contains(err.Error(), "refuses the credentials") {
			t.Errorf("err = %v\n%s", err, s.text())
		}
	}
}
