package envcache

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"agentctl/envcache/internal/shelf"
	"agentctl/internal/fsx"
)

// aliasSuffix is of files that lead from one key to the environment of another.
const aliasSuffix = ".alias"

func (c *Cache) aliasFile(base string) string { return filepath.Join(c.shelf.Dir(), base+aliasSuffix) }

// nameInstalled files the environment under the list of what was installed, too.
// An agent writes that list back to the task, so a clone of the task asks for it
// in these words, which make another key. (clearml-agent keeps both keys too.)
// It is a convenience: without it the clone builds the same environment again.
func (c *Cache) nameInstalled(ctx context.Context, req Request, frozen []string, key string) error {
	if len(frozen) == 0 {
		return nil
	}
	req.Requirements, req.Constraints, req.BaseDir = frozen, nil, ""
	p, err := c.builders[req.Manager].plan(ctx, req, func(Progress) {})
	if err != nil || p.unpinned {
		return err
	}
	p.parts = append(commonParts(req, c.shelf.Dir()), p.parts...)
	base := keyOf(p.parts)
	if base == key {
		return nil
	}
	return fsx.WriteFile(c.aliasFile(base), []byte(key+"\n"), 0o600)
}

// peekAlias leases the environment that was filed under base as well.
func (c *Cache) peekAlias(base string) (*shelf.Lease[record], bool) {
	data, err := os.ReadFile(c.aliasFile(base))
	if err != nil {
		return nil, false
	}
	held, err := c.shelf.Peek(strings.TrimSpace(string(data)))
	return held, err == nil
}

// forgetAliases removes the aliases of environments that are gone.
func (c *Cache) forgetAliases(gone func(key string) bool) {
	files, err := filepath.Glob(filepath.Join(c.shelf.Dir(), "*"+aliasSuffix))
	if err != nil {
		return
	}
	for _, f := range files {
		if data, err := os.ReadFile(f); err == nil && gone(strings.TrimSpace(string(data))) {
			_ = os.Remove(f)
		}
	}
}

// Audit verifies the environment of a key and throws it away if it was changed,
// which the *Changed error then says. One that is not there any more is no error.
func (c *Cache) Audit(ctx context.Context, key string) error {
	held, err := c.shelf.Peek(key)
	if err != nil {
		return nil //nolint:nilerr // gone, or thrown away by somebody else
	}
	err = c.Verify(ctx, &Lease{Path: held.Path, Key: key, held: held})
	_ = held.Close()
	var changed *Changed
	if errors.As(err, &changed) {
		return errors.Join(err, c.Discard(ctx, key))
	}
	return err
}
