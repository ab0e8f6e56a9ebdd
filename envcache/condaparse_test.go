package envcache

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"agentctl/envcache/internal/secret"
)

func TestParseEnvironment(t *testing.T) {
	c, err := parseEnvironment([]byte("name: x\nchannels: [a, b]\ndependencies:\n - python=3.11\n -\n - pip:\n   - six\n   - -r r.txt\n - pip:\nvariables: {B: 2, A: yes, PATH: /x}\n"))
	if err != nil || !slices.Equal(c.channels, []string{"a", "b"}) || !slices.Equal(c.specs, []string{"python=3.11"}) ||
		!slices.Equal(c.pip, []string{"six", "-r r.txt"}) || !slices.Equal(c.variables, []string{"A=yes", "B=2"}) || len(c.notes) != 1 {
		t.Fatalf("%+v, %v", c, err)
	}
	for _, bad := range []string{
		"dependencies: [[a]]", "dependencies: [{conda: [a]}]", "dependencies: [{pip: six}]", "dependencies: [{pip: [[a]]}]",
		"dependencies: {a: b}", "variables: {\"a b\": c}", "\tx", "channels: {a: b}", "dependencies: [3.11]",
	} {
		if c, err := parseEnvironment([]byte(bad)); err == nil {
			t.Errorf("%s: %+v", bad, c)
		}
	}
}

func TestReadCondaFileStaysInTheRepository(t *testing.T) {
	dir := newState(t)
	writeFiles(t, dir, map[string]string{"outside.yml": "dependencies: []", "repo/x": "", "repo/big.yml": strings.Repeat("#\n", mostEnvironment)})
	for _, name := range []string{"../outside.yml", "/etc/passwd", "nothing.yml", ".", "big.yml"} {
		if _, err := readCondaFile(filepath.Join(dir, "repo"), name); err == nil {
			t.Errorf("%s was read", name)
		}
	}
}

func TestCondaChannels(t *testing.T) {
	conf := condaSettings{
		groups: map[string][]string{"defaults": {"main", "r"}, "group": {"defaults", "https://u:pw@h/g"}, "loop": {"loop"}},
		custom: map[string]string{"own": "https://own/t/tok/base/"},
	}
	for name, want := range map[string]string{
		"conda-forge": "conda-forge", "nvidia/label/cuda-12": "nvidia/label/cuda-12", "defaults": "main r", "group": "main r https://h/g",
		"own": "https://own/base/own", "own/label/dev": "https://own/base/own/label/dev", "nodefaults": "", "local": "",
		"https://u:pw@h:8/c/": "https://h:8/c", "https://h/t/tk-1/c/" + subdirs()[0]: "https://h/c", "https://h/c/noarch": "https://h/c",
		"file:///srv/c": "file:///srv/c", "/srv/c": "file:///srv/c", "./c": "file:///repo/sub/c", "../c": "file:///repo/c",
		"../../c": "!", "loop": "!", "ftp://h/c": "!", "a b": "!", "https://h/c?x=1": "!", "file://h/c": "!", "file:///state/envs": "!",
		"-c": "!", "~/c": "!", "a/../b": "!",
	} {
		c := channelList{conf: conf, base: "/repo", dir: "sub", private: "/state"}
		err := c.add(name)
		got := strings.Join(c.names, " ")
		if err != nil {
			got = "!"
		}
		if got != want {
			t.Errorf("%s: %q (%v), not %q", name, got, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "pw") {
			t.Errorf("%s: the error holds a password: %v", name, err)
		}
	}
	c := channelList{conf: condaSettings{alias: "https://alias/x/"}}
	if err := c.add("forge"); err != nil || c.names[0] != "https://alias/x/forge" {
		t.Fatalf("%q, %v", c.names, err)
	}
}

func TestParseExplicit(t *testing.T) {
	sha, md := strings.Repeat("a", 64), strings.Repeat("B", 32)
	native := "h/c/" + subdirs()[0] + "/a-b_c-1.0-py_0.conda"
	good := "# comment\n@EXPLICIT\r\nhttps://u:pw@" + native + "#sha256:" + sha + "\nhttps://h/t/tk-1/c/noarch/x-2!1+l-0.tar.bz2#" + md + "\n\nfile:///c/noarch/y-1-0.conda\n"
	all, logins, err := parseExplicit(good)
	want := []condaPackage{
		{URL: "https://" + native, SHA256: sha}, {URL: "https://h/c/noarch/x-2!1+l-0.tar.bz2", MD5: strings.ToLower(md)},
		{URL: "file:///c/noarch/y-1-0.conda"},
	}
	if err != nil || !slices.Equal(all, want) || len(logins) != 2 || logins[1].Login != (secret.Login{User: channelUser, Password: "tk-1"}) {
		t.Fatalf("%+v, %+v, %v", all, logins, err)
	}
	if name, version := all[0].nameVersion(); name != "a-b_c" || version != "1.0" {
		t.Fatalf("%s %s", name, version)
	}
	for _, bad := range []string{
		"https://h/c/win-64/a-1-0.conda", "https://h/c/noarch/a-1.conda", "https://h/c/noarch/a-1-0.zip", "ftp://h/c/noarch/a-1-0.conda",
		"a-1-0.conda", "https://h/c/noarch/a-1-0.conda#abc", "https://h/c/noarch/a-1-0.conda#" + strings.Repeat("g", 32),
		"https://h/c/noarch/a-1-0.conda\nhttps://h/c/noarch/A-2-0.conda", "https://h/c/noarch/a-1-0.conda?x",
	} {
		if all, _, err := parseExplicit(bad); err == nil {
			t.Errorf("%s: %+v", bad, all)
		}
	}
}

func TestCondaSpecs(t *testing.T) {
	for in, want := range map[string]string{
		"NumPy": "numpy", "numpy >= 1.2 , < 2": "numpy >=1.2,<2", "numpy=1.2": "numpy =1.2", "numpy 1.2 py_0": "numpy 1.2 py_0",
		"forge::numpy==1": "forge::numpy ==1", "numpy[version='>=1']": "numpy[version='>=1']", " a  # b": "a",
	} {
		if got := parseCondaSpec(in).String(); got != want {
			t.Errorf("%q: %q, not %q", in, got, want)
		}
	}
	for in, want := range map[string]bool{"a=1=b": true, "a ==1.0 b_0": true, "a=1": false, "a": false, "a >=1": false, "a=1=b*": false} {
		if got := parseCondaSpec(in).exact(); got != want {
			t.Errorf("exact(%q) = %v", in, got)
		}
	}
}

func TestCondaWishes(t *testing.T) {
	list, err := resolveRequirements([]string{
		"torch==2.1", "Ruamel.yaml>=0.17,<1", "a[x]", "b; python_version>'3'", "git+https://h/c", "--extra-index-url https://x/simple", "d===1", "e==1.*",
	}, []string{"torch<3", "zzz<1"}, "", "")
	if err != nil {
		t.Fatal(err)
	}
	want := []condaWish{
		{"torch==2.1", []string{"pytorch"}, "==2.1,<3"},
		{"Ruamel.yaml>=0.17,<1", []string{"ruamel-yaml", "ruamel_yaml", "ruamel.yaml"}, "<1,>=0.17"},
		{"e==1.*", []string{"e"}, "==1.*"},
	}
	got := condaWishes(list)
	if !slices.EqualFunc(got, want, func(a, b condaWish) bool {
		return a.Line == b.Line && a.Version == b.Version && slices.Equal(a.Names, b.Names)
	}) {
		t.Fatalf("%+v", got)
	}
	hashed, err := resolveRequirements([]string{"six==1.16.0 --hash=sha256:" + strings.Repeat("a", 64), "more"}, nil, "", "")
	if err != nil || condaWishes(hashed) != nil {
		t.Fatalf("a list with digests: %+v, %v", condaWishes(hashed), err)
	}
	left, covered := uncovered(got, []string{"forge::PyTorch =2"})
	if len(left) != 2 || len(covered) != 1 || covered[0].Line != "torch==2.1" {
		t.Fatalf("%+v, %+v", left, covered)
	}
}

func TestCondarc(t *testing.T) {
	home := t.TempDir()
	writeFiles(t, home, map[string]string{
		".config/conda/.condarc": "channels: [low]\ndefault_channels: [https://mirror/main]\nssl_verify: false\nproxy_servers: {http: \"http://p:1\", https: x}\n",
		".condarc":               "channels: [high, $TOKEN_OF, $UNSET]\nssl_verify: /etc/ca.pem\nproxy_servers: {https: \"http://p:2\"}\ncustom_channels: {a: https://a}\nunknown: [1]\n",
	})
	env := map[string]string{"HOME": home, "TOKEN_OF": "expanded"}
	getenv := func(name string) string { return env[name] }
	s, err := hostCondaSettings(getenv)
	if err != nil || !slices.Equal(s.channels, []string{"high", "expanded", "${UNSET}", "low"}) || s.groups["defaults"][0] != "https://mirror/main" ||
		s.cert != "/etc/ca.pem" || s.insecure || s.proxies["http"] != "http://p:1" || s.proxies["https"] != "http://p:2" || s.custom["a"] != "https://a" {
		t.Fatalf("%+v, %v", s, err)
	}
	env["CONDA_CHANNELS"], env["CONDA_SSL_VERIFY"], env["CONDA_CHANNEL_ALIAS"] = "x,y", "false", "https://alias"
	if s, err = hostCondaSettings(getenv); err != nil || s.channels[1] != "y" || !s.insecure || s.alias != "https://alias" {
		t.Fatalf("%+v, %v", s, err)
	}
	writeFiles(t, home, map[string]string{".condarc": "channels: {"})
	if _, err = hostCondaSettings(getenv); err == nil || !strings.Contains(err.Error(), ".condarc") {
		t.Fatalf("err = %v", err)
	}
}

// No login that stood in a channel is left in what a key or a person sees.
func TestNoLoginIsLeftInChannels(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[A-Z]{6}[A-Za-z0-9._~-]{0,6}`)
		password, token := word.Draw(t, "password"), word.Draw(t, "token")
		raw := "https://u:" + password + "@host/t/" + token + "/" + rapid.StringMatching(`[a-z]{1,5}(/[a-z]{1,5}){0,2}`).Draw(t, "path")
		c := channelList{}
		if err := c.add(raw); err != nil {
			t.Fatal(err)
		}
		if got := c.names[0]; strings.Contains(got, password) || strings.Contains(got, token) || !strings.HasPrefix(got, "https://host/") {
			t.Fatalf("%q became %q", raw, got)
		}
	})
}

func FuzzParseExplicit(f *testing.F) {
	f.Add("@EXPLICIT\nhttps://h/c/noarch/a-1-0.conda#" + strings.Repeat("a", 32))
	f.Fuzz(func(t *testing.T, text string) {
		all, _, err := parseExplicit(text)
		if err != nil {
			return
		}
		var lines []string
		for _, p := range all {
			if !p.known() {
				return
			}
			lines = append(lines, p.line())
		}
		again, logins, err := parseExplicit(strings.Join(lines, "\n"))
		if err != nil || !slices.Equal(again, all) || len(logins) > 0 {
			t.Fatalf("%q: %+v became %+v, %v", text, all, again, err)
		}
	})
}

func FuzzParseEnvironment(f *testing.F) {
	f.Add("dependencies: [a, {pip: [b]}]")
	f.Add("a: &a [*a]")
	f.Fuzz(func(_ *testing.T, text string) { _, _ = parseEnvironment([]byte(text)) })
}

func FuzzCondarc(f *testing.F) {
	f.Add("channels: [a]\nssl_verify: no")
	f.Fuzz(func(t *testing.T, text string) {
		rc, err := parseCondarc([]byte(text), func(string) string { return "" })
		if err != nil {
			return
		}
		s := condaSettings{groups: map[string][]string{}, custom: map[string]string{}, proxies: map[string]string{}}
		s.take(rc)
		for _, name := range s.channels {
			c := channelList{conf: s, private: "/state"}
			if c.add(name) == nil && slices.ContainsFunc(c.names, func(n string) bool { return strings.Contains(n, "/t/") && !strings.Contains(n, "://") }) {
				t.Fatalf("%q became %q", name, c.names)
			}
		}
	})
}

func FuzzCondaSpec(f *testing.F) {
	f.Add("forge::numpy >= 1 , <2")
	f.Fuzz(func(t *testing.T, text string) {
		once := parseCondaSpec(text).String()
		if again := parseCondaSpec(once).String(); again != once {
			t.Fatalf("%q became %q, then %q", text, once, again)
		}
	})
}
