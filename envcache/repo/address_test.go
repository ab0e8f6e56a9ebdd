package repo

import (
	"strings"
	"testing"
)

func TestAddresses(t *testing.T) {
	for raw, want := range map[string]string{
		"https://host/org/r.git":          "https https://host/org/r.git https://host",
		"https://u:p@host:8443/org/r.git": "https https://host:8443/org/r.git https://host:8443",
		"HTTPS://host/r":                  "https HTTPS://host/r https://host",
		"http://[::1]:80/r":               "http http://[::1]:80/r http://[::1]:80",
		"git+https://host/r":              "https https://host/r https://host",
		"ssh://git@host:22/r":             "ssh ssh://git@host:22/r ",
		"git@host:org/r.git":              "ssh git@host:org/r.git ",
		"host:r":                          "ssh host:r ",
		"git://host/r":                    "git git://host/r ",
		"/srv/git/../git/r.git/":          "file /srv/git/r.git ",
		"file:///srv/git/r.git":           "file /srv/git/r.git ",
		" https://host/r ":                "https https://host/r https://host",
	} {
		a, err := parseAddress(raw)
		if got := a.scheme + " " + a.url + " " + a.origin; err != nil || got != want {
			t.Errorf("%q: %q, %v", raw, got, err)
		}
	}
}

func TestHostileAddresses(t *testing.T) {
	for _, raw := range []string{
		"", " ", "-u./payload", "--upload-pack=touch x", "ext::sh -c touch% x", "ext::sh", "fd::17/foo", "transport::https://h", "relative/path", "./x", "../x", "x",
		"https://host/a\nb", "https://host/a\x00b", "https://host/a b", "https://-oProxyCommand=x/r", "ssh://-oProxyCommand=touch/r", "ssh://-u@host/r", "-oProxyCommand=x:r", "git@-oX:r",
		"git@host:-x", "ftp://h/x", "file://host/x", "https://", "https:///x", "https://h%0a/x", "https://ho st/x", "ssh://host/-x", "rsync://h/x",
		"https://host/" + strings.Repeat("a", 5000), "host\r:x", "https://h/\x1b[0m",
	} {
		if a, err := parseAddress(raw); err == nil {
			t.Errorf("%.60q was taken: %+v", raw, a)
		}
	}
	if _, err := parseAddress("ftp://user:hunter22@h/x"); err == nil || strings.Contains(err.Error(), "hunter22") {
		t.Errorf("err = %v", err)
	}
}

func TestRelativeSubmoduleURLs(t *testing.T) {
	for _, tc := range [][3]string{
		{"https://host/org/super.git", "../lib.git", "https://host/org/lib.git"},
		{"https://host/org/super.git/", "../lib.git", "https://host/org/lib.git"},
		{"https://host/org/super.git", "../../other/lib.git", "https://host/other/lib.git"},
		{"https://host/org/super.git", "./lib.git", "https://host/org/super.git/lib.git"},
		{"git@host:org/super.git", "../lib.git", "git@host:org/lib.git"},
		{"git@host:org/super.git", "../../lib.git", "git@host:lib.git"},
		{"/srv/super", "../lib", "/srv/lib"},
		{"https://host/super", "https://other/x", "https://other/x"},
		{"https://host/super", "/local/x", "/local/x"},
		{"https://host/super", "../../x", ""},
		{"https://host/super", "../../../x", ""},
		{"/srv", "../../x", ""},
	} {
		a, err := parseAddress(tc[0])
		if err != nil {
			t.Fatal(err)
		}
		got, err := a.relative(tc[1])
		if got != tc[2] || (err == nil) != (tc[2] != "") {
			t.Errorf("%s + %s = %q, %v", tc[0], tc[1], got, err)
		}
	}
}

func TestRefNames(t *testing.T) {
	for _, name := range []string{"main", "feature/x-1", "v1.0", "ünï", "a@b", "origin/main", "refs/heads/main"} {
		if err := checkRef("branch", name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range []string{
		"-x", "--upload-pack=x", "a..b", "a b", "a\nb", "a\x00", "a~1", "a^", "a:b", "a?", "a*", "a[b", `a\b`, "a.lock", "a/.b", "/a", "a/", "a//b", "a@{1}", "@", "a.",
		"../../config", "refs/heads/../../config", "$(x) ", strings.Repeat("a", 2000),
	} {
		if err := checkRef("branch", name); err == nil {
			t.Errorf("%q was taken", name)
		}
	}
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"https://u:p@h/x", "git@h:x", "/x", "ext::x", "ssh://-o/x", "file:///x", "git+ssh://a@b/c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		a, err := parseAddress(raw)
		if err != nil {
			return
		}
		if strings.HasPrefix(a.url, "-") || strings.ContainsAny(a.url, "\n\r\x00 ") || strings.Contains(a.url, "::") && !strings.Contains(a.url, "[") && a.scheme != "file" && !strings.Contains(a.url, "/") {
			t.Fatalf("%q became %q", raw, a.url)
		}
		if a.origin != "" && strings.ContainsAny(a.origin, "@ =\n") {
			t.Fatalf("%q has the origin %q", raw, a.origin)
		}
		again, err := parseAddress(a.url)
		if err != nil || again.url != a.url || again.scheme != a.scheme || !again.login.Empty() {
			t.Fatalf("%q became %q, which becomes %+v, %v", raw, a.url, again, err)
		}
		if link, err := a.relative("../x"); err == nil {
			_, _ = parseAddress(link)
		}
	})
}
