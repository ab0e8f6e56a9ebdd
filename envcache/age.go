package envcache

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"agentctl/internal/fsx"
)

// agePart is the part of a key that makes an unpinned list age, and that keeps a
// changed environment from being found again.
const agePart = "resolved"

const (
	manifestSuffix = ".manifest"
	ageSuffix      = ".age"
)

func (c *Cache) ageFile(base string) string { return filepath.Join(c.shelf.Dir(), base+ageSuffix) }

// generation gives the value of the age part for a base key: the time at which
// an unpinned list was last taken to be resolved, or at which an environment
// was thrown away; "" when there is neither. aged tells that an older one just
// ran out.
func (c *Cache) generation(ctx context.Context, base string, unpinned bool, maxAge time.Duration) (gen string, aged bool, err error) {
	gen, err = c.readGeneration(base)
	if err != nil || !unpinned || gen != "" && !c.old(gen, maxAge) {
		return gen, false, err
	}
	next, err := c.renew(ctx, base, gen)
	return next, gen != "", err
}

func (c *Cache) readGeneration(base string) (string, error) {
	data, err := os.ReadFile(c.ageFile(base))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(data)), err
}

func (c *Cache) old(gen string, maxAge time.Duration) bool {
	if maxAge < 0 {
		return false
	}
	since, err := time.Parse(time.RFC3339Nano, gen)
	return err != nil || c.now().Sub(since) > maxAge
}

// renew starts a new generation after the one named old; if another process
// did so already, its generation is taken.
func (c *Cache) renew(ctx context.Context, base, old string) (string, error) {
	l, err := c.shelf.Guard(ctx)
	if err != nil {
		return "", err
	}
	defer func() { _ = l.Unlock() }()
	now, err := c.readGeneration(base)
	if err != nil || now != old {
		return now, err
	}
	next := c.now().UTC().Format(time.RFC3339Nano)
	return next, fsx.WriteFile(c.ageFile(base), []byte(next+"\n"), 0o600)
}

// forgetAges removes the age files that no entry needs and that have run out. The
// caller holds the guard.
func (c *Cache) forgetAges(needed map[string]bool) {
	for _, f := range c.files("*" + ageSuffix) {
		base := strings.TrimSuffix(filepath.Base(f), ageSuffix)
		gen, err := c.readGeneration(base)
		if err == nil && !needed[base] && c.opts.MaxAge > 0 && c.old(gen, c.opts.MaxAge) {
			_ = os.Remove(f)
		}
	}
}
