package envcache

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"agentctl/internal/fsx"
)

// The client runs on the interpreter of conda's private tool environment.
//
//go:embed conda_prefix.py
var condaPrefix string

//go:embed conda_client.py
var condaMain string

// condaAsk is one request to the client. Logins go to it by its standard input
// and nowhere else.
type condaAsk struct {
	Op         string            `json:"op"`   // virtual, solve or install
	Mark       string            `json:"mark"` // of lines that are events
	Channels   []string          `json:"channels,omitempty"`
	Specs      []string          `json:"specs,omitempty"`
	Wishes     []condaWish       `json:"wishes,omitempty"`
	Packages   []condaPackage    `json:"packages,omitempty"`
	Prefix     string            `json:"prefix,omitempty"`
	Cache      string            `json:"cache,omitempty"`
	Scratch    string            `json:"scratch,omitempty"`
	Variables  []string          `json:"variables,omitempty"` // besides those of packages
	Auth       condaLogins       `json:"auth,omitempty"`
	Proxies    map[string]string `json:"proxies,omitempty"`
	Insecure   bool              `json:"insecure,omitempty"`
	Offline    bool              `json:"offline,omitempty"`
	AnyChannel bool              `json:"anyChannel,omitempty"`
}

// condaEvent is what the client tells; each has one of the fields.
type condaEvent struct {
	Package  string `json:"package"` // URL of one that was chosen
	SHA256   string `json:"sha256"`
	MD5      string `json:"md5"`
	Pip      string `json:"pip"` // line of a wish that is left to pip
	Virtual  string `json:"virtual"`
	Variable string `json:"variable"`
	Error    string `json:"error"`  // kind of the failure
	Script   string `json:"script"` // package whose script is going to run
	Step     string `json:"step"`   // that goes on
	Note     string `json:"note"`   // what there is to say of it
	Done     int64  `json:"done"`   // bytes of downloads
	Total    int64  `json:"total"`
}

// condaCauses say for a person what went wrong.
var condaCauses = map[string]string{
	"unsatisfiable": "the packages contradict each other, or the channels don't have one of them",
	"unreachable":   "the channel can't be reached",
	"refused":       "the channel refuses the credentials, or has got none",
	"hash":          "a package is damaged, or not the one whose hash was asked for",
	"missing":       "there is no such channel, or it lacks a package that it lists",
	"disk":          "the disk is full",
}

// program gives the client's file, which every user may read.
func (b *condaBuilder) program() (string, error) {
	text := []byte(condaPrefix + "\n" + condaMain)
	sum := sha256.Sum256(text)
	dir := filepath.Join(b.state, "tools")
	name := filepath.Join(dir, fmt.Sprintf("conda-client-%x.py", sum[:6]))
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return name, fsx.WriteFile(name, text, 0o644)
}

// condaTalk is one run of the client.
type condaTalk struct {
	cmd    Cmd
	mark   string
	mu     sync.Mutex
	events []condaEvent
}

// newTalk readies the client for a request.
func (b *condaBuilder) newTalk(t tool, ask condaAsk, dir string, env []string) (*condaTalk, error) {
	program, err := b.program()
	if err != nil {
		return nil, fmt.Errorf("cannot write the conda client: %w", err)
	}
	// What a package prints must not be taken for the client's word.
	ask.Mark = "#" + rand.Text() + " "
	data, err := json.Marshal(ask)
	if err != nil {
		return nil, err
	}
	return &condaTalk{mark: ask.Mark, cmd: Cmd{
		Args: []string{t.python(), "-I", program}, Dir: dir, Env: env, Stdin: bytes.NewReader(data),
	}}, nil
}

// hear takes the events out of what the client says. p may be nil.
func (t *condaTalk) hear(line string, p *phases) bool {
	data, marked := strings.CutPrefix(line, t.mark)
	if !marked {
		return false
	}
	var e condaEvent
	if json.Unmarshal([]byte(data), &e) != nil {
		return true
	}
	switch {
	case p == nil || e.Step == "":
		t.mu.Lock()
		defer t.mu.Unlock()
		t.events = append(t.events, e)
	case e.Done > 0:
		p.enter(e.Step)
		p.bytes(e.Done, e.Total)
	default:
		p.enter(e.Step)
		p.note("%s", e.Note)
	}
	return true
}

// ask runs the client as the owner of the environment.
func (b *condaBuilder) ask(ctx context.Context, s *site, p *condaPlan, ask condaAsk) ([]condaEvent, error) {
	ask.Auth, ask.Proxies, ask.Insecure = p.auth, p.conf.proxies, p.conf.insecure
	ask.Offline, ask.AnyChannel, ask.Scratch = p.conf.offline, p.conf.anywhere, s.work
	cache, err := s.downloads(ManagerConda)
	if err != nil {
		return nil, err
	}
	ask.Cache = cache
	client, err := p.client(ctx, s.tell)
	if err != nil {
		return nil, err
	}
	t, err := b.newTalk(client, ask, s.work, s.env(b.getenv, p.access, b.trust(p)...))
	if err != nil {
		return nil, err
	}
	t.cmd.host = true // the interpreter that it runs on is the host's
	err = s.listen(ctx, ManagerConda, t.cmd, t.hear)
	var failed *BuildError
	if errors.As(err, &failed) {
		for _, e := range t.events {
			failed.Cause = cmp.Or(condaCauses[e.Error], failed.Cause)
		}
	}
	return t.events, err
}

// trust are the variables that tell the client which authorities to trust, and
// what is assumed of the host. rattler has no other way for the first.
func (b *condaBuilder) trust(p *condaPlan) []string {
	env := b.overrides()
	if p.glibc != "" && !slices.ContainsFunc(env, isGlibc) {
		env = append(env, overrideGlibc+"="+p.glibc)
	}
	if cert := cmp.Or(p.conf.cert, b.getenv("SSL_CERT_FILE"), b.getenv("REQUESTS_CA_BUNDLE"), p.settings.cert); cert != "" {
		env = append(env, "SSL_CERT_FILE="+cert)
	}
	return env
}
