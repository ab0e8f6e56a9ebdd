package envcache

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"agentctl/test/condakit"
)

// What fails says why, in the client's words and in ours.
func TestCondaFailures(t *testing.T) {
	t.Parallel()
	kit := condakit.Build(t)
	server := kit.Serve(t, &condakit.Server{})
	dead := kit.Serve(t, &condakit.Server{})
	dead.Close()
	tampered := kit.Serve(t, &condakit.Server{Change: func(path string, data []byte) []byte {
		if strings.Contains(path, "/six-1.17") {
			return bytes.Replace(data, []byte("Benjamin Peterson"), []byte("Somebody Else...."), 1)
		}
		return data
	}})
	closed := kit.Serve(t, &condakit.Server{User: "somebody", Password: "s3same-open"})
	c := condaCache(t, SameUser, Options{})
	for name, tc := range map[string]struct {
		req  Request
		want []string
	}{
		"contradiction":   {condaRequest(kit, server.Main()).conda("clashes", "six 1.17.*"), []string{"contradict", "clashes 1.0 would require", "six <1.17"}},
		"no such package": {condaRequest(kit, server.Main()).conda("nosuch"), []string{"channels don't have one of them", "No candidates were found for nosuch"}},
		"no such version": {condaRequest(kit, server.Main()).conda("six ==9"), []string{"No candidates were found for six ==9"}},
		"virtual package": {condaRequest(kit, server.Main()).conda("needs-cuda"), []string{"__cuda >=12"}},
		"no such Python":  {condaRequest(kit, server.Main()).with().wants("3.8"), []string{"python 3.8.*", "Python in the channels: " + kit.Python}},
		"no network":      {condaRequest(kit, dead.Main()).conda("six"), []string{"can't be reached"}},
		"no channel":      {condaRequest(kit, server.URL+"/nothing").conda("six"), []string{"no such channel"}},
		"another file":    {condaRequest(kit, tampered.Main()).conda("six"), []string{"not the one whose hash was asked for"}},
		"bad script":      {condaRequest(kit, server.Main()).conda("mislinked"), []string{"post-link script failed of mislinked"}},
		"no login":        {condaRequest(kit, closed.Main()).conda("six"), []string{"refuses the credentials", "401"}},
		"no spec":         {condaRequest(kit, server.Main()).conda("six ==="), []string{"conda failed"}},
		"no channel name": {condaRequest(kit, "a b"), []string{`"a b" is no channel`}},
		"foreign scheme":  {condaRequest(kit, "ftp://host/x"), []string{"is no channel"}},
		"our own folder":  {condaRequest(kit, "file://"+c.state+"/envs"), []string{"agent's own folder"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s said
			_, err := c.Acquire(t.Context(), tc.req, s.hear)
			if err == nil {
				t.Fatal("built")
			}
			for _, want := range tc.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error lacks %q: %v", want, err)
				}
			}
		})
	}
}

func (r Request) wants(python string) Request {
	r.PythonWanted = python
	return r
}

// Logins of channels, however they are given, are used and seen nowhere else.
func TestCondaLogins(t *testing.T) {
	t.Parallel()
	kit := condakit.Build(t)
	const password, token = "s3same-open", "tk-1234-abcd"
	basic := kit.Serve(t, &condakit.Server{User: "some@body", Password: password})
	tokens := kit.Serve(t, &condakit.Server{Token: token})
	netrc := filepath.Join(t.TempDir(), "netrc")
	writeFiles(t, filepath.Dir(netrc), map[string]string{"netrc": "machine 127.0.0.1 login some@body password " + password + "\n"})
	program := filepath.Join(filepath.Dir(netrc), "helper")
	writeFiles(t, filepath.Dir(netrc), map[string]string{"helper": "#!/bin/sh\ncat >/dev/null\n[ \"$1\" = get ] && printf 'username=some@body\\npassword=" + password + "\\n'\n"})
	if err := os.Chmod(program, 0o755); err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	writeFiles(t, home, map[string]string{
		".condarc":                  "channels: [mine]\ncustom_multichannels:\n  mine: [" + tokens.Main() + "]\n",
		".rattler/credentials.json": `{"127.0.0.1": {"CondaToken": "` + token + `"}}`,
	})
	for name, tc := range map[string]struct {
		req Request
		env map[string]string
	}{
		"in the URL":      {condaRequest(kit, strings.Replace(basic.Main(), "://", "://some%40body:"+password+"@", 1)), nil},
		"in a file":       {Request{CredentialsFile: netrc, CondaChannels: []string{basic.Main()}}.conda("nosuch"), nil},
		"by a program":    {Request{CredentialsCommand: []string{program}, CondaChannels: []string{basic.Main()}}.conda("nosuch"), nil},
		"token":           {condaRequest(kit, tokens.URL+"/t/"+token+"/main"), nil},
		"of the host":     {Request{}.conda("nosuch"), map[string]string{"HOME": home}},
		"by a list's URL": {Request{}.conda(explicit(t, kit, tokens.URL+"/t/"+token)), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			watch := &spy{Exec: HostExec{}}
			c := condaCache(t, SameUser, Options{Exec: watch, Getenv: environ(tc.env)})
			req := tc.req
			req.Manager, req.UID, req.GID = ManagerConda, SameUser, SameUser
			if req.CondaRequirements == nil {
				req = req.conda("activates")
			}
			var s said
			l, err := c.Acquire(t.Context(), req, s.hear)
			seen := s.text()
			if err == nil {
				defer l.Close()
				seen += strings.Join(l.Variables, "\n")
			} else if !strings.Contains(err.Error(), "No candidates were found for nosuch") { // the channel was read
				t.Fatalf("%v\n%s", err, s.text())
			}
			for _, cmd := range watch.ran() {
				seen += strings.Join(cmd.Args, "\n") + strings.Join(cmd.Env, "\n")
			}
			noSecret(t, "what is said and run", []byte(seen), password, token)
			noSecretBelow(t, c.state, password, token)
		})
	}
}

// explicit is an explicit list of the channel main at a URL.
func explicit(t *testing.T, kit condakit.Channels, at string) string {
	text := "# platform: linux-64\n@EXPLICIT\n"
	for _, p := range []string{"python", "activates"} {
		text += kitURL(t, kit, at, p) + "#sha256:" + digestOf(t, kit.File(t, p)) + "\n"
	}
	return text
}

func noSecret(t *testing.T, where string, data []byte, secrets ...string) {
	t.Helper()
	for _, s := range secrets {
		if bytes.Contains(data, []byte(s)) {
			t.Errorf("%s holds %q", where, s)
		}
	}
}

// noSecretBelow reads every file of a folder, but not what all tests share.
func noSecretBelow(t *testing.T, dir string, secrets ...string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		noSecret(t, path, data, secrets...)
		return errors.Join(err)
	})
	if err != nil {
		t.Fatal(err)
	}
}
