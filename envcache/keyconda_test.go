package envcache

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"agentctl/internal/fsx"
)

// host says which virtual packages the host has, for a version of the conda client.
func (p planned) host(t *testing.T, req Request, virtual ...string) {
	t.Helper()
	b := p.c.builders[ManagerConda].(*condaBuilder)
	from := []string{b.tools.named(ManagerConda, req).identity, readProc("sys/kernel/random/boot_id"), readProc("driver/nvidia/version")}
	sum := sha256.Sum256([]byte(strings.Join(append(from, b.overrides()...), "\n")))
	hex := hex.EncodeToString(sum[:])
	err := fsx.WriteJSON(b.virtualFile(hex), virtualFound{hex, virtual}, 0o600)
	if err != nil {
		t.Fatal(err)
	}
}

func TestKeysOfCondaLists(t *testing.T) {
	t.Parallel()
	p := newPlanned(t, map[string]string{"CONDARC": os.DevNull, "HOME": newState(t)})
	req := Request{
		Manager: ManagerConda, PythonWanted: "3.11", CondaRequirements: []string{"numpy>=1.26,<2", "zlib=1.2.13=h123_0", "python"},
		Requirements: []string{"six==1.16.0", "only-pip[x]"}, Constraints: []string{"baz<3"}, IndexURL: "https://user:hunter22@index/simple",
		CondaChannels: []string{"https://user:hunter33@conda.example/first", "https://conda.example/t/hunter44/second"}, UID: SameUser, GID: SameUser,
	}
	virtual := []string{"__glibc=2.36=0", "__linux=6.1=0"}
	p.host(t, req, virtual...)
	explicit := "@EXPLICIT\nhttps://conda.example/first/linux-64/python-3.11.4-h_0.conda#" + strings.Repeat("a", 32)
	changes := map[string]change{
		"python":                 ofRequest(func(r *Request) { r.PythonWanted = "3.10" }),
		"any python":             ofRequest(func(r *Request) { r.PythonWanted = "" }),
		"a version":              ofRequest(func(r *Request) { r.CondaRequirements[0] = "numpy>=1.27,<2" }),
		"an operator":            ofRequest(func(r *Request) { r.CondaRequirements[0] = "numpy>1.26,<2" }),
		"a build":                ofRequest(func(r *Request) { r.CondaRequirements[1] = "zlib=1.2.13=h123_1" }),
		"no build":               ofRequest(func(r *Request) { r.CondaRequirements[1] = "zlib=1.2.13" }),
		"a channel of a package": ofRequest(func(r *Request) { r.CondaRequirements[0] = "https://conda.example/second::numpy>=1.26,<2" }),
		"a package more":         ofRequest(func(r *Request) { r.CondaRequirements = append(r.CondaRequirements, "more") }),
		"a package less":         ofRequest(func(r *Request) { r.CondaRequirements = r.CondaRequirements[1:] }),
		"an explicit list":       ofRequest(func(r *Request) { r.CondaRequirements = []string{explicit} }),
		"another explicit list": ofRequest(func(r *Request) {
			r.CondaRequirements = []string{strings.ReplaceAll(explicit, "aaaa", "bbbb")}
		}),
		"pip's version":      ofRequest(func(r *Request) { r.Requirements[0] = "six==1.15.0" }),
		"pip's extra":        ofRequest(func(r *Request) { r.Requirements[1] = "only-pip" }),
		"a package of pip":   ofRequest(func(r *Request) { r.Requirements = append(r.Requirements, "more") }),
		"an option of pip":   ofRequest(func(r *Request) { r.Requirements = append(r.Requirements, "--pre") }),
		"a constraint":       ofRequest(func(r *Request) { r.Constraints = []string{"baz<4"} }),
		"no constraint":      ofRequest(func(r *Request) { r.Constraints = nil }),
		"order of channels":  ofRequest(func(r *Request) { slices.Reverse(r.CondaChannels) }),
		"a channel more":     ofRequest(func(r *Request) { r.CondaChannels = append(r.CondaChannels, "https://conda.example/third") }),
		"a channel less":     ofRequest(func(r *Request) { r.CondaChannels = r.CondaChannels[:1] }),
		"a channel by name":  ofRequest(func(r *Request) { r.CondaChannels[0] = "conda-forge" }),
		"a channel's host":   ofRequest(func(r *Request) { r.CondaChannels[0] = "https://conda2.example/first" }),
		"the usual channels": ofRequest(func(r *Request) { r.CondaChannels = nil }),
		"the index":          ofRequest(func(r *Request) { r.IndexURL = "https://other/simple" }),
		"an extra index":     ofRequest(func(r *Request) { r.ExtraIndexURLs = []string{"https://other/simple"} }),
		"the private pip":    ofRequest(func(r *Request) { r.Versions = map[string]string{ManagerPip: "24.0"} }),
		"the client's version": ofRequest(func(r *Request) {
			r.Versions = map[string]string{ManagerConda: "0.27.0"}
			p.host(t, *r, virtual...)
		}),
		"a GPU": ofRequest(func(r *Request) { p.host(t, *r, append(virtual, "__cuda=12.4=0")...) }),
		"another driver": ofRequest(func(r *Request) {
			p.host(t, *r, append(virtual, "__cuda=12.8=0")...)
		}),
		"another libc": ofRequest(func(r *Request) { p.host(t, *r, "__glibc=2.17=0", "__linux=6.1=0") }),
	}
	for name, c := range changes { // the host as it was, but for the change
		changes[name] = func(files map[string]string, r *Request) {
			p.host(t, *r, virtual...)
			c(files, r)
		}
	}
	p.host(t, req, virtual...)
	back := func(f func(r *Request)) change {
		return ofRequest(func(r *Request) {
			f(r)
			p.host(t, *r, virtual...)
		})
	}
	checkKeys(t, p, nil, req, changes, map[string]change{
		"the host's Python":     back(func(r *Request) { r.Python = somePython() }),
		"system packages":       back(func(r *Request) { r.SystemSite = true }),
		"the order of packages": back(func(r *Request) { slices.Reverse(r.CondaRequirements) }),
		"blanks and comments": back(func(r *Request) {
			r.CondaRequirements = []string{"# first\n  numpy >=1.26,<2 \n\nPython\nzlib=1.2.13=h123_0"}
		}),
		"other spellings of pip": back(func(r *Request) { r.Requirements = []string{"Only.Pip[X]", "six == 1.16.0"} }),
		"logins": back(func(r *Request) {
			r.CondaChannels = []string{"https://conda.example/first/", "https://u:hunter55@conda.example/second"}
			r.IndexURL = "https://index/simple"
		}),
	})
}

// The same packages of conda by other words are the same key, and no login is in it.
func TestOtherWordsOfCondaSameKey(t *testing.T) {
	t.Parallel()
	p := newPlanned(t, map[string]string{"CONDARC": os.DevNull, "HOME": newState(t)})
	req := Request{Manager: ManagerConda, UID: SameUser, GID: SameUser}
	p.host(t, req, "__linux=6.1=0")
	want := ""
	rapid.Check(t, func(t *rapid.T) {
		req := req
		lines := []string{
			rapid.SampledFrom([]string{"numpy>=1.26", "numpy >=1.26", "NumPy >= 1.26", "numpy>=1.26 # fast"}).Draw(t, "numpy"),
			rapid.SampledFrom([]string{"zlib", " zlib ", "ZLIB"}).Draw(t, "zlib"),
		}
		if rapid.Bool().Draw(t, "turned") {
			slices.Reverse(lines)
		}
		if rapid.Bool().Draw(t, "as text") {
			lines = []string{strings.Join(lines, rapid.SampledFrom([]string{"\n", "\n\n", "\n# and\n"}).Draw(t, "end"))}
		}
		req.CondaRequirements = lines
		login := rapid.StringMatching(`(u[a-z]{0,5}:hunter[0-9]{1,5}@)?`).Draw(t, "login")
		token := rapid.StringMatching(`(/t/hunter[0-9]{1,5})?`).Draw(t, "token")
		slash := rapid.SampledFrom([]string{"", "/", "/noarch", "/noarch/"}).Draw(t, "end of the URL")
		req.CondaChannels = []string{"https://" + login + "conda.example/one" + slash, "https://conda.example" + token + "/two"}
		key := p.key(t, req)
		if want == "" {
			want = key
		}
		if key != want {
			t.Fatalf("%+v: another key", req)
		}
	})
}
