package secret

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestSplitURL(t *testing.T) {
	for _, tc := range []struct {
		raw, clean string
		login      Login
	}{
		{"https://host/x", "https://host/x", Login{}},
		{"https://u:p@host/x", "https://host/x", Login{"u", "p"}},
		{"https://tok@host:8080/x?y#z", "https://host:8080/x?y#z", Login{"tok", ""}},
		{"https://u%40d:p%2Fq@host", "https://host", Login{"u@d", "p/q"}},
		{"https://u:p@ss@host/a@b", "https://host/a@b", Login{"u", "p@ss"}},
		{"ssh://git@host/x", "ssh://git@host/x", Login{}},
		{"ssh://git:pw@host/x", "ssh://git@host/x", Login{"", "pw"}},
		{"git+https://u:p@host/x@main", "git+https://host/x@main", Login{"u", "p"}},
		{"git@host:x", "git@host:x", Login{}},
		{"/path/u:p@x", "/path/u:p@x", Login{}},
	} {
		clean, login := SplitURL(tc.raw)
		if clean != tc.clean || login != tc.login {
			t.Errorf("SplitURL(%q) = %q, %+v", tc.raw, clean, login)
		}
	}
}

func TestRedact(t *testing.T) {
	var r Redactor
	r.Add(Login{"user", "pa/ss word"})
	r.Add(Login{"token-alone", ""})
	for _, in := range []string{
		"failed: pa/ss word", "failed: pa%2Fss%20word", "failed: pa%2Fss+word", "Authorization: Basic dXNlcjpwYS9zcyB3b3Jk",
		"token-alone", "https://any:thing@host/x", "see git+https://x:y@h", "'https://abc@h/'",
	} {
		got := r.Redact(in)
		for _, bad := range []string{"pa/ss", "pa%2F", "dXNl", "token-alone", "thing", "x:y", "abc@"} {
			if strings.Contains(got, bad) {
				t.Errorf("Redact(%q) = %q", in, got)
			}
		}
	}
	for _, in := range []string{"nothing here", "mail a@b.c", "ssh://git@host/x", "git@host:x"} {
		if got := r.Redact(in); got != in {
			t.Errorf("Redact(%q) = %q", in, got)
		}
	}
}

func TestNoPasswordIsLeftInAnyURL(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		password := rapid.StringMatching(`[A-Z]{6}[!-~]{0,8}`).Draw(t, "password")
		escaped := strings.NewReplacer("%", "%25", "/", "%2F", "?", "%3F", "#", "%23").Replace(password)
		raw := "https://u:" + escaped + "@host/path"
		clean, login := SplitURL(raw)
		if clean != "https://host/path" || login != (Login{"u", password}) {
			t.Fatalf("SplitURL(%q) = %q, %+v", raw, clean, login)
		}
		var r Redactor
		r.Add(login)
		if got := r.Redact("cannot read " + raw + ": " + password); strings.Contains(got, password) {
			t.Fatalf("Redact left %q", got)
		}
	})
}

func TestNetrc(t *testing.T) {
	all, err := ParseNetrc("# hello\nmachine a.example login u password \"p w\\\"\"\nmacdef init\n  cd /x\n  password y\n\nmachine B.example\n  login v\n  account z password q#r # end\ndefault login d password e\n")
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]Login{"A.example": {"u", `p w"`}, "b.example": {"v", "q#r"}, "c.example": {"d", "e"}} {
		if got, ok := Lookup(all, host); !ok || got != want {
			t.Errorf("%s: %+v, %v", host, got, ok)
		}
	}
	for _, bad := range []string{"login u", "machine", "machine a sekret b", "hello"} {
		if _, err := ParseNetrc(bad); err == nil || strings.Contains(err.Error(), "sekret") {
			t.Errorf("ParseNetrc(%q): %v", bad, err)
		}
	}
}

func FuzzNetrc(f *testing.F) {
	f.Add("machine a login b password c")
	f.Add("macdef x\n\ndefault login \"a\\\"b\"")
	f.Fuzz(func(t *testing.T, data string) {
		all, err := ParseNetrc(data)
		if err != nil {
			return
		}
		if text, err := Netrc(all, nil); err == nil && strings.ContainsAny(text, "\"\\") {
			t.Fatalf("not every program reads %q", text)
		}
		text, err := Netrc(nil, all)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseNetrc(text)
		if err != nil || len(again) != len(all) {
			t.Fatalf("%q: %v, %+v", text, err, again)
		}
		for i := range all {
			if again[i] != all[i] {
				t.Fatalf("%+v became %+v", all[i], again[i])
			}
		}
	})
}

func FuzzSplitURL(f *testing.F) {
	f.Add("https://u:p@h/x")
	f.Add("ssh://git@h")
	f.Fuzz(func(t *testing.T, raw string) {
		clean, login := SplitURL(raw)
		if login.Empty() && clean != raw && !strings.Contains(raw, "@") {
			t.Fatalf("SplitURL(%q) = %q", raw, clean)
		}
		if again, _ := SplitURL(clean); !strings.Contains(clean, "ssh") && again != clean {
			t.Fatalf("SplitURL(%q) = %q, then %q", raw, clean, again)
		}
	})
}
