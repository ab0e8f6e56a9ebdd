package envcache

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What a program answers, and how it can fail.
func TestCredentialsProgram(t *testing.T) {
	t.Parallel()
	keyring := func(text string) string { return script(t, "keyring", text) }
	for name, tc := range map[string]struct {
		program        string
		user, password string
		fails          string // what the error says
	}{
		"both":               {script(t, "p", "printf 'username=u\npassword=p=q\n'"), "u", "p=q", ""},
		"the last one":       {script(t, "p", "printf 'password=a\nusername=u\r\npassword=b\r\n\npassword=c\n'"), "u", "b", ""},
		"a token":            {script(t, "p", "echo password=t"), tokenUser, "t", ""},
		"nothing":            {script(t, "p", "exit 0"), "", "", ""},
		"a user alone":       {script(t, "p", "echo username=u"), "", "", "no password"},
		"fails":              {script(t, "p", "echo sekret; echo sekret >&2; exit 3"), "", "", "p ended with exit status 3"},
		"killed":             {script(t, "p", "echo sekret; kill -9 $$"), "", "", "killed"},
		"talks too much":     {script(t, "p", "yes sekret"), "", "", "more than 64 KiB"},
		"says nothing":       {script(t, "p", "sleep 600"), "", "", "did not answer within"},
		"is not there":       {"/nonexistent/p", "", "", "/nonexistent/p"},
		"keyring's":          {keyring(`echo '{"username": "u", "password": "p\u0041"}'`), "u", "pA", ""},
		"keyring has none":   {keyring("exit 1"), "", "", ""},
		"keyring fails":      {keyring("echo sekret >&2; exit 2"), "", "", "keyring ended with exit status 2"},
		"keyring is another": {keyring("echo sekret"), "", "", "JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limit := helperLimit
			if name == "says nothing" {
				limit = time.Second
			}
			k := keys{command: []string{tc.program}, limit: limit}
			login, ok, err := k.ask(t.Context(), "https://h.example:444/a/b")
			switch {
			case tc.fails != "":
				if err == nil || !strings.Contains(err.Error(), tc.fails) || strings.Contains(err.Error(), "sekret") || !strings.Contains(err.Error(), "h.example:444") {
					t.Fatalf("err = %v", err)
				}
			case err != nil || login.User != tc.user || login.Password != tc.password || ok != (tc.password != ""):
				t.Fatalf("%+v, %v, %v", login, ok, err)
			}
		})
	}
	marker := filepath.Join(t.TempDir(), "ran")
	k := keys{command: []string{script(t, "p", "touch "+marker)}}
	for _, link := range []string{"ssh://git@h/x", "file:///x", "https://", "/x", "https://h/a%0ahost=evil.example"} {
		if _, ok, err := k.ask(t.Context(), link); ok || (err != nil) != strings.Contains(link, "evil") {
			t.Errorf("%s: %v, %v", link, ok, err)
		}
	}
	if _, err := os.Stat(marker); !errors.Is(err, os.ErrNotExist) {
		t.Fatal("asked for what needs no credentials")
	}
}

func TestCredentialsForOthers(t *testing.T) {
	t.Parallel()
	netrc := writeNetrc(t, "default login d password e\nmachine a.example login u password \"p w\"")
	vault := script(t, "p", "grep -q host=b.example && printf 'username=v\npassword=w\n' || exit 0")
	for link, want := range map[string]string{"https://a.example/x": "u:p w", "https://b.example/x": "v:w", "https://c.example/x": "d:e", "ssh://git@b.example/x": "d:e"} {
		user, password, ok, err := Credentials(t.Context(), netrc, []string{vault}, link)
		if err != nil || !ok || user+":"+password != want {
			t.Errorf("%s: %s:%s, %v, %v", link, user, password, ok, err)
		}
	}
	if _, _, ok, err := Credentials(t.Context(), "", []string{vault}, "https://a.example/x"); ok || err != nil {
		t.Errorf("%v, %v", ok, err)
	}
	text, err := Netrc(t.Context(), netrc, []string{vault}, []string{"A.example", "b.example"})
	if want := "machine a.example login u password \"p w\"\nmachine b.example login v password w\n"; err != nil || text != want {
		t.Fatalf("%q, %v", text, err)
	}
	if text, err = Netrc(t.Context(), "", nil, []string{"a.example"}); err != nil || text != "" {
		t.Fatalf("%q, %v", text, err)
	}
}

func FuzzCredentialsAnswer(f *testing.F) {
	f.Add([]byte("username=a\npassword=b\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l := parseAnswer(data)
		if strings.ContainsAny(l.User+l.Password, "\n\x00") {
			t.Fatalf("%+v", l)
		}
	})
}

func FuzzRepository(f *testing.F) {
	f.Add("git+https://h/a@b/r.git@main#egg=x")
	f.Add("git+https://")
	f.Fuzz(func(t *testing.T, link string) {
		if got := repository(link); strings.HasPrefix(link, "git+") && (strings.ContainsRune(got, '#') || !strings.Contains(got, "://")) {
			t.Fatalf("%q: %q", link, got)
		}
	})
}
