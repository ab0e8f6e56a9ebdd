package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// plain is a manager alone, in a virtual environment without pip.
type plain struct {
	place *place
	label string
	steps func(ctx context.Context, p *place, s set, venv, cache string) error
}

func (c *plain) name() string { return c.label }

func (c *plain) prepare(ctx context.Context, s set) error {
	_, err := c.place.project(ctx, s)
	return err
}

func (c *plain) folder(name string) string {
	return filepath.Join(c.place.dir, "plain-"+c.label+"-"+name)
}

func (c *plain) clear(fresh bool) error {
	var err error
	if fresh {
		err = os.RemoveAll(c.folder("cache"))
	}
	return errors.Join(err, os.RemoveAll(c.folder("venv")))
}

func (c *plain) build(ctx context.Context, s set) error {
	return c.steps(ctx, c.place, s, c.folder("venv"), c.folder("cache"))
}

// hit: a manager alone keeps no environments.
func (c *plain) hit(context.Context, set) (string, error) { return "", nil }

// peers are the managers as somebody who knows them well uses them by hand, under
// the names of those that they are compared with.
var peers = []plain{
	{label: "pip", steps: func(ctx context.Context, p *place, s set, venv, cache string) error {
		args := append([]string{"-m", "pip", "--python", filepath.Join(venv, "bin", "python"), "install", "--quiet", "--disable-pip-version-check", "--cache-dir", cache}, s.packages...)
		return errors.Join(command(ctx, nil, p.python.Path, "-m", "venv", "--without-pip", venv), command(ctx, nil, p.program("python"), args...))
	}},
	// As it comes: an environment that shares its files with uv's cache, and writes to it.
	{label: "uv", steps: byUV("hardlink")},
	// The same thing as ours: an environment of its own.
	{label: "uv-copies", steps: byUV("copy")},
	{label: "poetry", steps: func(ctx context.Context, p *place, s set, venv, cache string) error {
		dir, err := p.project(ctx, s)
		if err != nil {
			return err
		}
		env := p.poetryEnv(cache, "VIRTUAL_ENV="+venv)
		return errors.Join(command(ctx, nil, p.python.Path, "-m", "venv", "--without-pip", venv),
			command(ctx, env, p.program("poetry"), "install", "-n", "-q", "--no-root", "--compile", "-C", dir))
	}},
}

func byUV(link string) func(ctx context.Context, p *place, s set, venv, cache string) error {
	return func(ctx context.Context, p *place, s set, venv, cache string) error {
		env := []string{"UV_CACHE_DIR=" + cache, "UV_NO_CONFIG=1", "UV_LINK_MODE=" + link}
		args := append([]string{"pip", "install", "--quiet", "--compile-bytecode", "--python", filepath.Join(venv, "bin", "python")}, s.packages...)
		return errors.Join(command(ctx, env, p.program("uv"), "venv", "--quiet", "--python", p.python.Path, venv), command(ctx, env, p.program("uv"), args...))
	}
}

func (p *place) poetryEnv(cache string, more ...string) []string {
	return append([]string{
		"POETRY_CACHE_DIR=" + cache, "POETRY_CONFIG_DIR=" + filepath.Join(p.dir, "poetry-config"),
		"PYTHON_KEYRING_BACKEND=keyring.backends.null.Keyring",
	}, more...)
}

// project is a poetry project of a set, locked by poetry itself.
func (p *place) project(ctx context.Context, s set) (string, error) {
	dir := filepath.Join(p.dir, "project-"+s.name)
	if _, err := os.Stat(filepath.Join(dir, "poetry.lock")); err == nil {
		return dir, nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "[project]\nname = \"bench\"\nversion = \"1\"\nrequires-python = \">=%s,<4\"\ndependencies = [\n", strings.Join(strings.Split(p.python.Version, ".")[:2], "."))
	for _, line := range s.packages {
		fmt.Fprintf(&b, "  %q,\n", line)
	}
	// A source of its own: the plain index is all that a mirror must have.
	fmt.Fprintf(&b, "]\n[tool.poetry]\npackage-mode = false\n[[tool.poetry.source]]\nname = \"index\"\nurl = %q\npriority = \"primary\"\n", strings.TrimRight(p.index, "/")+"/")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, "pyproject.toml"), []byte(b.String()), 0o644); err != nil {
		return "", err
	}
	return dir, command(ctx, p.poetryEnv(filepath.Join(p.dir, "poetry-lock")), p.program("poetry"), "lock", "-n", "-q", "-C", dir)
}
