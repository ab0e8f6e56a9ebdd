package source

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/hiddeco/sshsig"
	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
)

// newSigner makes a key, and writes the private one to file if that is named.
func newSigner(t *testing.T, file string) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	signer, err := ssh.NewSignerFromKey(key)
	must(t, err)
	if file != "" {
		block, err := ssh.MarshalPrivateKey(key, "")
		must(t, err)
		must(t, os.WriteFile(file, pem.EncodeToMemory(block), 0o600))
	}
	return signer
}

func knownLine(addr string, key ssh.PublicKey) string {
	return knownhosts.Line([]string{addr}, key) + "\n"
}

// signed replaces the newest commit by one with a signature of its text.
func (r *gitRepo) signed(sign func(text []byte) string) {
	r.t.Helper()
	raw := r.git("cat-file", "commit", "HEAD") + "\n"
	head, message, _ := strings.Cut(raw, "\n\n")
	sig := strings.ReplaceAll(strings.TrimSpace(sign([]byte(raw))), "\n", "\n ")
	hash := r.gitIn(strings.NewReader(head+"\ngpgsig "+sig+"\n\n"+message), "hash-object", "-t", "commit", "-w", "--stdin")
	r.git("reset", "-q", "--hard", hash)
	r.push()
}

func sshSign(t *testing.T, key ssh.Signer, space string) func([]byte) string {
	return func(text []byte) string {
		sig, err := sshsig.Sign(bytes.NewReader(text), key, sshsig.HashSHA512, space)
		must(t, err)
		return string(sshsig.Armor(sig))
	}
}

func gpgSign(t *testing.T, key *openpgp.Entity) func([]byte) string {
	return func(text []byte) string {
		var b bytes.Buffer
		must(t, openpgp.ArmoredDetachSign(&b, key, bytes.NewReader(text), nil))
		return b.String()
	}
}

// TestGitSigned: only commits that the named files vouch for are taken.
func TestGitSigned(t *testing.T) {
	n, _ := newGitNode(t)
	ann, err := openpgp.NewEntity("Ann", "", "ann@example.com", nil)
	must(t, err)
	eve, err := openpgp.NewEntity("Eve", "", "eve@example.com", nil)
	must(t, err)
	bob, mallory := newSigner(t, ""), newSigner(t, "")
	dir := t.TempDir()
	ring := filepath.Join(dir, "keyring.asc")
	f, err := os.Create(ring)
	must(t, err)
	w, err := armor.Encode(f, openpgp.PublicKeyType, nil)
	must(t, err)
	must(t, ann.Serialize(w))
	must(t, w.Close())
	must(t, f.Close())
	signers := filepath.Join(dir, "signers")
	line := func(options string, key ssh.Signer) string {
		return "bob@example.com " + options + string(ssh.MarshalAuthorizedKey(key.PublicKey()))
	}
	for name, c := range map[string]struct {
		sign           func([]byte) string
		ring           bool
		allowed        string // lines of the allowed signers
		want, signedBy string
	}{
		"unsigned":         {nil, true, line("", bob), "NotSigned", ""},
		"openpgp":          {gpgSign(t, ann), true, "", "word", "Ann <ann@example.com>"},
		"openpgp stranger": {gpgSign(t, eve), true, "", "NotSigned", ""},
		"openpgp no ring":  {gpgSign(t, ann), false, line("", bob), "NotSigned", ""},
		"other text":       {func([]byte) string { return gpgSign(t, ann)([]byte("x")) }, true, "", "NotSigned", ""},
		"ssh":              {sshSign(t, bob, "git"), false, "# team\n" + line("", bob), "word", "bob@example.com"},
		"ssh and a ring":   {sshSign(t, bob, "git"), true, line(`namespaces="git,file" `, bob), "word", "bob@example.com"},
		"ssh stranger":     {sshSign(t, mallory, "git"), false, line("", bob), "NotSigned", ""},
		"ssh no signers":   {sshSign(t, bob, "git"), true, "", "NotSigned", ""},
		"ssh other space":  {sshSign(t, bob, "file"), false, line("", bob), "NotSigned", ""},
		"ssh not for git":  {sshSign(t, bob, "git"), false, line(`namespaces="file" `, bob), "NotSigned", ""},
		"ssh too late":     {sshSign(t, bob, "git"), false, line(`valid-before="20200101" `, bob), "NotSigned", ""},
		"ssh in time":      {sshSign(t, bob, "git"), false, line(`valid-after="20200101Z",valid-before="29991231235959" `, bob), "word", "bob@example.com"},
		"ssh other text":   {func([]byte) string { return sshSign(t, bob, "git")([]byte("x")) }, false, line("", bob), "NotSigned", ""},
		"rubbish":          {func([]byte) string { return "-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----" }, false, line("", bob), "NotSigned", ""},
		"bad signers":      {sshSign(t, bob, "git"), false, line("cert-authority ", bob), "NotSigned", ""},
	} {
		t.Run(name, func(t *testing.T) {
			n.repo.commit(name, "node.yaml", string(text("word")))
			if c.sign != nil {
				n.repo.signed(c.sign)
			}
			g := n.g
			if c.ring {
				g.Keyring = ring
			}
			if c.allowed != "" {
				g.AllowedSigners = signers
				put(t, signers, c.allowed)
			}
			text, commit, err := n.m.FetchGit(t.Context(), g)
			if got := said(Update{Text: text, Err: err}); got != c.want || commit == nil || commit.Signer != c.signedBy {
				t.Errorf("%s, %+v, want %s by %s (%v)", got, commit, c.want, c.signedBy, err)
			}
			if err != nil && !strings.Contains(err.Error(), "Ann <ann@example.com>") {
				t.Errorf("no author in %v", err)
			}
		})
	}
}

// TestGitSSH: a server whose key is known, with the right key, and nothing else.
func TestGitSSH(t *testing.T) {
	n, _ := newGitNode(t)
	n.repo.commit("one", "node.yaml", string(text("one")))
	s := serveSSH(t)
	dir := t.TempDir()
	known, others, changed := filepath.Join(dir, "known"), filepath.Join(dir, "others"), filepath.Join(dir, "changed")
	put(t, known, knownLine(s.addr, s.host.PublicKey()))
	put(t, others, knownLine("other.example", s.host.PublicKey()))
	put(t, changed, knownLine(s.addr, newSigner(t, "").PublicKey()))
	stranger := filepath.Join(dir, "stranger")
	newSigner(t, stranger)
	url := "ssh://git@" + s.addr + n.repo.bare
	for name, c := range map[string]struct {
		g    Git
		want string
	}{
		"right":        {Git{URL: url, SSHKey: s.client, KnownHosts: known}, "one"},
		"unknown host": {Git{URL: url, SSHKey: s.client, KnownHosts: others}, "GitAuth"},
		"changed host": {Git{URL: url, SSHKey: s.client, KnownHosts: changed}, "GitAuth"},
		"other key":    {Git{URL: url, SSHKey: stranger, KnownHosts: known}, "GitAuth"},
		"no key":       {Git{URL: url, SSHKey: filepath.Join(dir, "none"), KnownHosts: known}, "GitAuth"},
		"not a key":    {Git{URL: url, SSHKey: known, KnownHosts: known}, "GitAuth"},
		"no such repo": {Git{URL: url + ".x", SSHKey: s.client, KnownHosts: known}, "RepositoryNotFound"},
		"a file":       {Git{URL: n.repo.bare}, "one"},
		"no such file": {Git{URL: n.repo.bare + ".x"}, "RepositoryNotFound"},
		"not a repo":   {Git{URL: dir}, "RepositoryNotFound"},
	} {
		c.g.Path = "node.yaml"
		text, _, err := n.m.FetchGit(t.Context(), c.g)
		if got := said(Update{Text: text, Err: err}); got != c.want {
			t.Errorf("%s: %s, want %s (%v)", name, got, c.want, err)
		}
	}
	n.g = Git{URL: url, SSHKey: s.client, KnownHosts: known, Path: "node.yaml", Interval: time.Hour}
	n.set(false)
	n.repo.commit("two", "node.yaml", string(text("two")))
	n.expect("two", "two")
}

// TestGitRedirect: a token goes where its line says, and not where that sends it.
func TestGitRedirect(t *testing.T) {
	n, s := newGitNode(t)
	n.repo.commit("one", "node.yaml", string(text("one")))
	var got atomic.Value
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got.Store("asked, " + r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer thief.Close()
	sender := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief.URL+r.URL.String(), http.StatusMovedPermanently)
	}))
	defer sender.Close()
	s.addr = sender.Listener.Addr().String()
	s.login(t, n.g.Credentials, "token-1")
	n.g.URL = sender.URL + "/fleet.git"
	_, _, err := n.m.FetchGit(t.Context(), n.g)
	if said(Update{Err: err}) != "GitAuth" || got.Load() != "asked, " {
		t.Errorf("%v; the other host was %q", err, got.Load())
	}
}
