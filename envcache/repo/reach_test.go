package repo

import (
	"context"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"agentctl/envcache"
)

func TestReach(t *testing.T) {
	hosts := func(known ...string) func(context.Context, string) (Credentials, error) {
		return func(_ context.Context, url string) (Credentials, error) {
			for _, k := range known {
				if strings.HasPrefix(url, k) {
					return Credentials{"u", "p"}, nil
				}
			}
			return Credentials{}, nil
		}
	}
	https := Access{Protocol: ProtocolHTTPS, Login: hosts("https://h/", "https://[::1]/", "http://h/")}
	for _, tc := range []struct {
		access     Access
		from, want string
		login      bool
	}{
		{Access{}, "git@h:org/r.git", "git@h:org/r.git", false},
		{Access{Login: hosts("https://h/")}, "https://h/r", "https://h/r", true},
		{https, "git@h:org/r.git", "https://h/org/r.git", true},
		{https, "h:/org/r.git", "https://h/org/r.git", true},
		{https, "ssh://me@h:2222/org/r.git", "https://h/org/r.git", true},
		{https, "git+ssh://me@h/org/r", "https://h/org/r", true},
		{https, "git@h:a%2 b", "", false},
		{https, "git@h:a%20b/r#x?y", "https://h/a%2520b/r%23x%3Fy", true},
		{https, "ssh://git@h/a%20b/r", "https://h/a%20b/r", true},
		{https, "git@[::1]:r", "https://[::1]/r", true},
		{https, "git@other:r", "git@other:r", false},
		{https, "http://h/r", "http://h/r", true},
		{https, "/srv/r", "/srv/r", false},
		{https, "git://h/r", "git://h/r", false},
		{Access{Protocol: ProtocolSSH}, "https://h/org/r.git", "ssh://git@h/org/r.git", false},
		{Access{Protocol: ProtocolSSH}, "https://u:p@h:8443/org/r.git", "ssh://git@h/org/r.git", false},
		{Access{Protocol: ProtocolSSH, SSHUser: "me", SSHPort: 2222}, "http://h/a%20b", "ssh://me@h:2222/a%20b", false},
		{Access{Protocol: ProtocolSSH, SSHPort: 2222}, "https://[::1]:8443/r", "ssh://git@[::1]:2222/r", false},
		{Access{Protocol: ProtocolSSH, SSHPort: 2222}, "git@h:r", "git@h:r", false},
		{Access{Protocol: ProtocolSSH}, "/srv/r", "/srv/r", false},
	} {
		addr, err := parseAddress(tc.from)
		if err != nil {
			if tc.want != "" {
				t.Errorf("%s: %v", tc.from, err)
			}
			continue
		}
		got, err := tc.access.reach(t.Context(), addr)
		if err != nil || got.url != tc.want || got.login.Empty() == tc.login {
			t.Errorf("%s by %q: %s with login %t, %v; want %s", tc.from, tc.access.Protocol, got.url, !got.login.Empty(), err, tc.want)
		}
		if _, err := parseAddress(got.url); err != nil {
			t.Errorf("%s: %v", tc.from, err)
		}
	}
}

func FuzzReach(f *testing.F) {
	for _, s := range []string{"git@h:org/r", "ssh://u@h:22/r", "https://u:p@h/x", "h:-x", "git@[::1]:r", "a@b:c:d", "ssh://h/%2d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		addr, err := parseAddress(s)
		if err != nil {
			return
		}
		for _, protocol := range []string{ProtocolHTTPS, ProtocolSSH} {
			a := knows("u", "p")
			a.Protocol = protocol
			got, err := a.reach(t.Context(), addr)
			if err != nil {
				continue
			}
			if again, err := parseAddress(got.url); err != nil || again.scheme != got.scheme || got.origin != again.origin {
				t.Errorf("%q by %s is %q, which is %+v, %v", s, protocol, got.url, again, err)
			}
		}
	})
}

// withForeign is a repository with a submodule beside it and one on another host.
func withForeign(t *testing.T, root, link string) {
	t.Helper()
	newUpstream(t, map[string]string{"lib.py": "lib\n"}).serve(root, "lib")
	newUpstream(t, map[string]string{"ext.py": "ext\n"}).serve(root, "ext")
	u := newUpstream(t, map[string]string{"a.py": "one\n"})
	u.git("submodule", "add", "-q", filepath.Join(root, "lib.git"), "lib")
	u.git("submodule", "add", "-q", filepath.Join(root, "ext.git"), "ext")
	u.git("config", "-f", ".gitmodules", "submodule.lib.url", "../lib.git")
	u.git("config", "-f", ".gitmodules", "submodule.ext.url", link)
	u.commit("submodules")
	u.serve(root, "super")
}

func checkForeign(t *testing.T, c *Checkout, asked, reached string) {
	t.Helper()
	if read(t, c, "a.py") != "one\n" || read(t, c, "lib/lib.py") != "lib\n" || read(t, c, "ext/ext.py") != "ext\n" {
		t.Error("not the files")
	}
	if c.URL != asked || in(t, c.Path, "remote", "get-url", "origin") != reached {
		t.Errorf("the checkout is of %s, its remote %s", c.URL, in(t, c.Path, "remote", "get-url", "origin"))
	}
}

// A repository and its submodules by ssh, whose addresses say http and https.
func TestReachedBySSH(t *testing.T) {
	root := newState(t)
	withForeign(t, root, "https://u:hunter22@other.example.com/ext.git")
	bin, log := t.TempDir(), filepath.Join(t.TempDir(), "log")
	script := "#!/bin/sh\necho \"$*\" >>" + log + "\nfor last; do :; done\neval \"$(echo \"$last\" | sed \"s,',&" + root + ",\")\"\n"
	if err := os.WriteFile(filepath.Join(bin, "ssh"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	getenv := func(name string) string {
		if name == "PATH" {
			return bin + ":" + os.Getenv("PATH")
		}
		return os.Getenv(name)
	}
	c := acquire(t, newStore(t, Options{Getenv: getenv}), Source{
		URL: "http://u:hunter22@git.example.com:8080/super.git", UID: envcache.SameUser,
		Access: Access{Protocol: ProtocolSSH, SSHUser: "me", SSHPort: 2222},
	})
	checkForeign(t, c, "http://git.example.com:8080/super.git", "ssh://me@git.example.com:2222/super.git")
	said, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"me@git.example.com git-upload-pack '/super.git'", "me@git.example.com git-upload-pack '/lib.git'", "me@other.example.com git-upload-pack '/ext.git'", "-p 2222"} {
		if !strings.Contains(string(said), want) {
			t.Errorf("ssh was not asked for %q:\n%s", want, said)
		}
	}
	if strings.Contains(string(said), "hunter22") {
		t.Error("ssh was told a password")
	}
}

// A repository and its submodules by https, whose addresses are of ssh: each host
// gets its own login. A proxy stands for the names' hosts.
func TestReachedByHTTPS(t *testing.T) {
	root := newState(t)
	withForeign(t, root, "git@other.example.com:ext.git")
	plain := newGitServer(t, root, "user", "hunter22")
	server := httptest.NewTLSServer(plain.Config.Handler)
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o644); err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { tunnel(w, r, server.Listener.Addr().String()) }))
	t.Cleanup(proxy.Close)
	env := map[string]string{"PATH": os.Getenv("PATH"), "https_proxy": proxy.URL, "GIT_SSL_CAINFO": ca}
	login := func(_ context.Context, url string) (Credentials, error) {
		switch {
		case strings.HasPrefix(url, "https://git.example.com/"), strings.HasPrefix(url, "https://other.example.com/"):
			return Credentials{"user", "hunter22"}, nil
		}
		return Credentials{}, nil
	}
	c := acquire(t, newStore(t, Options{Getenv: func(name string) string { return env[name] }}), Source{
		URL: "ssh://git@git.example.com:2222/super.git", UID: envcache.SameUser, Access: Access{Protocol: ProtocolHTTPS, Login: login},
	})
	checkForeign(t, c, "ssh://git@git.example.com:2222/super.git", "https://git.example.com/super.git")
}

// tunnel is the CONNECT of a proxy, to one address whatever is asked for.
func tunnel(w http.ResponseWriter, r *http.Request, to string) {
	up, err := net.Dial("tcp", to)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer func() { _ = up.Close() }()
	if r.Method != http.MethodConnect {
		http.Error(w, "only CONNECT", http.StatusMethodNotAllowed)
		return
	}
	w.WriteHeader(http.StatusOK)
	down, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = down.Close() }()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(down, up)
		_ = down.Close()
	}()
	_, _ = io.Copy(up, down)
	_ = up.Close()
	<-done
}
