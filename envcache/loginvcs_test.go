package envcache

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A repository that a line names is reached with the login of its git host, which
// counts more than that of an index on the same host.
func TestGitLoginForARequirement(t *testing.T) {
	t.Parallel()
	vcs, commit := gitRepo(t, project("fromgit", "8.0", nil))
	g := newGitServer(t, "ghp_token4711", vcs)
	link := g.URL + "/" + filepath.Base(vcs) + "/.git"
	req := Request{
		Python: hostPython(t, SameUser), IndexURL: newIndexServer(t, "", "").url(), UID: SameUser, GID: SameUser,
		CredentialsFile: writeNetrc(t, "machine 127.0.0.1 login index password index4711"), GitCredentialsFile: writeNetrc(t, "machine 127.0.0.1 login ghp_token4711"),
		Requirements: []string{"fromgit @ git+" + link + "@" + commit},
	}
	c := newCache(t, Options{})
	l := acquire(t, c, req)
	if l.Frozen[0] != "fromgit @ git+"+link+"@"+commit {
		t.Fatalf("%q", l.Frozen)
	}
	for _, p := range l.Parts {
		if strings.Contains(p.Value+strings.Join(p.Lines, ""), "4711") {
			t.Errorf("a login is in the key: %+v", p)
		}
	}
}

func TestRepositoriesByHTTPS(t *testing.T) {
	t.Parallel()
	req := Request{GitHTTPS: true, GitCredentialsFile: writeNetrc(t, "machine git.example.com login u password secret4711\n")}
	links := []string{
		"git+ssh://git@git.example.com:2222/a b/r.git@main#egg=x", "git+ssh://git@other.example.com/r@v1", "git+https://git.example.com/s@v2",
		"git+file:///srv/r", "https://git.example.com/x.whl",
	}
	for _, https := range []bool{true, false} {
		req.GitHTTPS = https
		a := newAccess(func(string) string { return "" }, req, nil)
		l, err := a.logins(t.Context(), links...)
		if err != nil {
			t.Fatal(err)
		}
		want, stored := [][2]string(nil), "https://u:secret4711@git.example.com/s\n"
		if https {
			want = [][2]string{{"url.https://git.example.com/a%20b/r.git.insteadOf", "ssh://git@git.example.com:2222/a b/r.git"}}
			stored = "https://u:secret4711@git.example.com/a%20b/r.git\n" + stored
		}
		if !slices.Equal(a.instead, want) || l.stored != stored {
			t.Errorf("https %t: %q, stored %q", https, a.instead, l.stored)
		}
		if env := strings.Join(gitEnv("/h", a.instead...), "\n"); https != strings.Contains(env, "insteadOf") || strings.Contains(env, "secret4711") {
			t.Errorf("https %t:\n%s", https, env)
		}
		if got := a.secrets.Redact("secret4711"); strings.Contains(got, "secret") {
			t.Error("the login is no secret")
		}
	}
}

// What lists of clearml hold, as clearml-agent reads them.
func TestListsOfClearML(t *testing.T) {
	t.Parallel()
	list, err := resolveRequirements([]string{
		"# Python 3.11.7 (main)\r\n\r\nsix == 1.16.0\r\nnumpy[a] >=1 # no\r\n", "six==1.16.0", "six==1.16.0",
		"pandas @ file:///tmp/built/pandas-2.0-cp311-cp311-linux_x86_64.whl", "--extra-index-url https://me:hunter22@pypi.example.com/simple",
		"-e git+https://tok3n4711@git.example.com/org/lib.git@main#egg=lib", "https://h.example.com/w-1-py3-none-any.whl",
	}, nil, "", "")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"--editable git+https://git.example.com/org/lib.git@main#egg=lib", "https://h.example.com/w-1-py3-none-any.whl", "numpy[a]>=1", "pandas", "six==1.16.0",
	}
	if !slices.Equal(list.canon, want) || !slices.Equal(list.options, []string{"--extra-index-url https://pypi.example.com/simple"}) {
		t.Errorf("%q, %q", list.canon, list.options)
	}
	if all := strings.Join(slices.Concat(list.lines, list.canon, list.options, list.links, list.notes), "\n"); strings.Contains(all, "hunter22") || strings.Contains(all, "tok3n") {
		t.Errorf("a login stays:\n%s", all)
	}
	if len(list.logins) != 2 || len(list.notes) != 1 {
		t.Errorf("%d logins, notes %q", len(list.logins), list.notes)
	}
}
