package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"agentctl/envcache"
)

// Versions of the peers, from the index; pip, uv and poetry are those that
// agentctl uses itself.
const (
	pipVersion   = "25.3"
	uvVersion    = "0.13.9"
	poetry       = "2.5.1"
	clearmlAgent = "3.0.3"
)

// place is what all contenders share: the interpreter and the peers' programs.
type place struct {
	dir    string // scratch, on one file system
	peers  string // virtual environment with the peers' programs
	index  string // the simple index that pip uses here
	python envcache.Interpreter
	agent  *agentPeer
}

func newPlace(ctx context.Context, dir, out string) (*place, error) {
	peers, err := filepath.Abs(filepath.Join(out, "peers"))
	if err != nil {
		return nil, err
	}
	finder, err := envcache.NewFinder(dir, envcache.Options{})
	if err != nil {
		return nil, err
	}
	p := &place{dir: dir, peers: peers}
	if p.python, _, err = finder.Find(ctx, "", envcache.OnMissingFail, envcache.SameUser, envcache.SameUser); err != nil {
		return nil, err
	}
	if err := p.install(ctx); err != nil {
		return nil, err
	}
	say, err := output(ctx, nil, p.program("python"), "-c", "from pip._internal.models.index import PyPI; print(PyPI.simple_url)")
	if err != nil {
		return nil, err
	}
	p.index = strings.TrimSpace(say)
	if set := os.Getenv("PIP_INDEX_URL"); set != "" {
		p.index = set
	}
	p.agent, err = newAgentPeer(ctx, p)
	return p, err
}

func (p *place) close() { p.agent.close() }

func (p *place) program(name string) string { return filepath.Join(p.peers, "bin", name) }

// install brings the peers' programs, once.
func (p *place) install(ctx context.Context) error {
	want := strings.Join([]string{"pip==" + pipVersion, "uv==" + uvVersion, "poetry==" + poetry, "clearml-agent==" + clearmlAgent}, " ")
	if have, err := os.ReadFile(p.program("made")); err == nil && string(have) == want+p.python.Path {
		return nil
	}
	fmt.Fprintln(os.Stderr, "installing the peers:", want)
	if err := errors.Join(os.RemoveAll(p.peers), os.MkdirAll(filepath.Dir(p.peers), 0o755)); err != nil {
		return err
	}
	if err := command(ctx, nil, p.python.Path, "-m", "venv", p.peers); err != nil {
		return err
	}
	args := append([]string{"-m", "pip", "install", "--quiet", "--disable-pip-version-check"}, strings.Fields(want)...)
	if err := command(ctx, nil, p.program("python"), args...); err != nil {
		return err
	}
	return os.WriteFile(p.program("made"), []byte(want+p.python.Path), 0o644)
}

func (p *place) contenders() []contender {
	var all []contender
	for _, manager := range []string{envcache.ManagerPip, envcache.ManagerUV, envcache.ManagerPoetry} {
		all = append(all, &ours{place: p, manager: manager})
		for _, peer := range peers {
			if strings.HasPrefix(peer.label, manager) {
				all = append(all, &plain{p, peer.label, peer.steps})
			}
		}
	}
	return append(all, p.agent)
}

// command runs a program to its end; what it said is told if it fails.
func command(ctx context.Context, env []string, program string, args ...string) error {
	_, err := output(ctx, env, program, args...)
	return err
}

func output(ctx context.Context, env []string, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%s: %w\n%s", filepath.Base(program), err, out)
	}
	return string(out), nil
}
