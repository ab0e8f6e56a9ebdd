package envcache

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/samber/lo"

	"agentctl/envcache/internal/secret"
	"agentctl/internal/fsx"
)

// quickManager is a builder that makes small environments in milliseconds, so that
// thousands of builds can be raced and killed. All but the installation is real.
const quickManager = "quick"

// quickBuilder installs "packages" that are one file each. A list may name one in
// any way that pip knows, and gets version 1.0 of it.
type quickBuilder struct {
	// witness is a folder with a lock for everything that may have one builder only.
	witness string
	// begun and filled, where they are set, are called when a build begins and when
	// its packages are in place.
	begun  func()
	filled func(ctx context.Context) error
}

func quickRequest(words ...string) Request {
	return Request{Manager: quickManager, Requirements: words, UID: SameUser, GID: SameUser}
}

// quickName is the package that words of a list mean.
func quickName(words string) string {
	return strings.FieldsFunc(words, func(r rune) bool { return strings.ContainsRune("=<>~! ", r) })[0]
}

func quickText(name string) string { return "version = '1.0' # of " + name + "\n" }

func quickFile(env, name string) string {
	return filepath.Join(env, "lib", "python3", "site-packages", name+".py")
}

func (b *quickBuilder) plan(_ context.Context, req Request, _ func(Progress)) (plan, error) {
	words := slices.Clone(req.Requirements)
	slices.Sort(words)
	return plan{
		parts:  []Part{{Name: "manager", Value: quickManager}, {Name: requirementsPart, Lines: words}},
		wishes: []string{requirementsPart}, brings: true, secrets: &secret.Redactor{},
		unpinned: slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(w, "==") }),
		build:    b.build,
	}, nil
}

func (b *quickBuilder) build(ctx context.Context, s *site) error {
	if b.begun != nil {
		b.begun()
	}
	alone, err := b.alone(filepath.Base(s.path))
	if err != nil {
		return err
	}
	defer func() { _ = alone.Unlock() }()
	if err := s.root.MkdirAll("lib/python3/site-packages", 0o755); err != nil {
		return err
	}
	names := lo.Uniq(lo.Map(s.req.Requirements, func(w string, _ int) string { return quickName(w) }))
	slices.Sort(names)
	lock := Lock{Manager: quickManager, Python: "3.11.0"}
	for _, n := range names {
		lock.Packages = append(lock.Packages, fmt.Sprintf("%s==1.0 --hash=sha256:%x", n, sha256.Sum256([]byte(n))))
	}
	if err := s.locked(ctx, lock); err != nil {
		return err
	}
	packages, err := b.alone("packages-" + strings.Join(names, "-"))
	if err != nil {
		return err
	}
	defer func() { _ = packages.Unlock() }()
	for _, n := range names {
		err := s.run(ctx, "quick", Cmd{
			Args: []string{"/bin/sh", "-c", `cat >"$1"`, "sh", quickFile(s.path, n)}, Stdin: strings.NewReader(quickText(n)),
			Dir: s.work, Env: []string{"PATH=" + defaultPath, "HOME=" + s.work},
		})
		if err != nil {
			return err
		}
	}
	if b.filled != nil {
		return b.filled(ctx)
	}
	return nil
}

// alone fails if another one builds the same thing at this moment. The lock is to be
// given up by Unlock: programs that are being started have copies of it for a moment.
func (b *quickBuilder) alone(what string) (*fsx.Lock, error) {
	l, err := fsx.TryLock(filepath.Join(b.witness, what))
	if err != nil {
		return nil, fmt.Errorf("%s: %s has two builders at once: %w", violation, what, err)
	}
	return l, nil
}

// violation stands in what a played agent says when it saw what must never be.
const violation = "VIOLATION"

// quickCheck compares a leased environment with what was asked for.
func quickCheck(ctx context.Context, c *Cache, l *Lease, words []string) error {
	for _, w := range words {
		name := quickName(w)
		if got, err := os.ReadFile(quickFile(l.Path, name)); err != nil || string(got) != quickText(name) {
			return fmt.Errorf("%s: leased for %q, but %s holds %q, %w", violation, words, name, got, err)
		}
	}
	if err := c.VerifyFully(ctx, l); err != nil {
		return fmt.Errorf("%s: leased for %q, but %w", violation, words, err)
	}
	return nil
}
