// Package condakit gives tests real conda channels, made of a Python of this
// host and three wheels. They are built once for all test programs, in seconds,
// and need nothing of conda.
//
// The channel main holds python; six in two versions, pyyaml (binary) and hello
// (one console script, needs six); pip, which is a name only; needs-cuda (needs
// __cuda >=12), clashes (needs six <1.17), activates (activation scripts and
// variables), prefixed (the prefix in a text and in a binary file), post-linked (a
// post-link script) and mislinked (one that fails). The channel extra holds a
// higher six, which must not win behind main, and only_extra.
package condakit

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"agentctl/internal/fsx"
)

//go:embed kit.py
var kit string

// Channels are folders with the two channels.
type Channels struct {
	Dir    string // holds main and extra
	Python string // version of the python in main, as "3.11.7"
}

// Main and Extra are the channels' URLs for users who may read the folders.
func (c Channels) Main() string  { return "file://" + filepath.Join(c.Dir, "main") }
func (c Channels) Extra() string { return "file://" + filepath.Join(c.Dir, "extra") }

// File is the path of a package's file, by the beginning of its name.
func (c Channels) File(t testing.TB, prefix string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(c.Dir, "*", "*", prefix+"-*.conda"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the channels have %d files %s-*", len(found), prefix)
	}
	return found[0]
}

// Build gives the channels, built by this call or an earlier one.
func Build(t testing.TB) Channels {
	t.Helper()
	dir, err := build(t.Context())
	if err != nil {
		t.Fatalf("cannot build conda channels: %v", err)
	}
	c := Channels{Dir: dir}
	name := strings.TrimPrefix(filepath.Base(c.File(t, "python")), "python-")
	c.Python, _, _ = strings.Cut(name, "-")
	return c
}

func build(ctx context.Context) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, fmt.Sprintf("condakit-%x", sha256.Sum256([]byte(kit)))[:20])
	// Test programs run side by side.
	lock, err := fsx.WaitLock(ctx, dir+".lock")
	if err != nil {
		return "", err
	}
	defer func() { _ = lock.Close() }()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	var failed error
	for _, python := range pythons() {
		err := fill(ctx, python, dir)
		if err == nil {
			return dir, nil
		}
		failed = errors.Join(failed, fmt.Errorf("%s: %w", python, err))
	}
	return "", errors.Join(errors.New("no Python of this host can be made a package of"), failed)
}

// fill builds aside with one interpreter: an interrupted run leaves nothing half made.
func fill(ctx context.Context, python, dir string) error {
	tmp, err := os.MkdirTemp(filepath.Dir(dir), filepath.Base(dir)+".new-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	cmd := exec.CommandContext(ctx, python, "-c", kit, tmp)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	if err := os.Chmod(tmp, 0o755); err != nil {
		return err
	}
	return os.Rename(tmp, dir)
}

// pythons are the interpreters that are tried. Any CPython since 3.9 will do.
func pythons() []string {
	var found []string
	for _, name := range []string{"python3", "python3.11", "python3.12", "python3.13", "python3.10", "python3.9"} {
		if path, err := exec.LookPath(name); err == nil {
			found = append(found, path)
		}
	}
	usual, _ := filepath.Glob("/usr/bin/python3.[0-9]*[0-9]")
	own, _ := filepath.Glob(filepath.Join(os.Getenv("HOME"), ".pyenv", "versions", "3.*", "bin", "python3"))
	return append(append(found, usual...), own...)
}

// cacheDir is the cache folder of this repository, or of the user.
func cacheDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
			continue
		}
		cache := filepath.Join(dir, ".cache")
		if os.MkdirAll(cache, 0o755) == nil && writable(cache) {
			return cache, nil
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	cache = filepath.Join(cache, "agentctl")
	return cache, os.MkdirAll(cache, 0o755)
}

func writable(dir string) bool {
	f, err := os.CreateTemp(dir, ".probe-")
	if err != nil {
		return false
	}
	return errors.Join(f.Close(), os.Remove(f.Name())) == nil
}
