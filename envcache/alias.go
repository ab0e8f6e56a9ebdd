package envcache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"agentctl/internal/fsx"
	"agentctl/internal/shelf"
)

// aliasSuffix is of files that lead from one key to the environment of another:
// from what a request is resolved to, and from other words for the same request.
const aliasSuffix = ".alias"

// alias is what stands in such a file.
type alias struct {
	Key string `json:"key"` // of the environment
	// Lock is the key of what both are resolved to. Under the same key another
	// environment may stand one day: of an unpinned list that was resolved anew.
	Lock string `json:"lock"`
	// Base is the key of the request without its age, which is kept as long.
	Base string `json:"base,omitempty"`
}

func (c *Cache) aliasFile(key string) string { return filepath.Join(c.shelf.Dir(), key+aliasSuffix) }

// name files an environment under another key as well. It is a convenience:
// without it the other key's request is resolved, or built, once more.
func (c *Cache) name(ctx context.Context, other string, to alias) error {
	if other == to.Key {
		return nil
	}
	l, err := c.shelf.Guard(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = l.Unlock() }()
	return fsx.WriteJSON(c.aliasFile(other), to, 0o600)
}

// doubtful is the error of an environment that is to be examined first.
type doubtful struct{ key string }

func (d *doubtful) Error() string { return "the environment " + d.key + " is in doubt" }

// named leases the environment that is filed under a key, in its own name or another.
func (c *Cache) named(key string) (*shelf.Lease[record], error) {
	held, err := c.shelf.Peek(key)
	if err == nil {
		return held, nil
	}
	if errors.Is(err, shelf.ErrDoubt) {
		return nil, &doubtful{key}
	}
	var to alias
	if fsx.ReadJSON(c.aliasFile(key), &to) != nil {
		return nil, err
	}
	held, err = c.shelf.Peek(to.Key)
	switch {
	case errors.Is(err, shelf.ErrDoubt):
		return nil, &doubtful{to.Key}
	case err != nil:
		return nil, err
	case held.Entry.Settled != to.Lock:
		_ = held.Close()
		return nil, fs.ErrNotExist
	}
	return held, nil
}

// tidy removes what leads to no environment any more: aliases, ages that have
// run out, and the locks of dead builders.
func (c *Cache) tidy(ctx context.Context) error {
	l, err := c.shelf.Guard(ctx)
	if err != nil {
		return fmt.Errorf("cannot tidy up environments: %w", err)
	}
	defer func() { _ = l.Unlock() }()
	entries, err := c.shelf.Entries()
	if err != nil {
		return err
	}
	settled, bases := map[string]string{}, map[string]bool{}
	for _, e := range entries {
		settled[e.Key], bases[e.Entry.Base] = e.Entry.Settled, true
	}
	for _, f := range c.files("*" + aliasSuffix) {
		var to alias
		err := fsx.ReadJSON(f, &to)
		lock, known := settled[to.Key]
		// What is being built is filed before it is whole.
		if err == nil && (known && lock == to.Lock || !known && c.shelf.Stands(to.Key)) {
			bases[to.Base] = true
			continue
		}
		_ = os.Remove(f)
	}
	c.forgetAges(bases)
	for _, f := range append(c.files(settlePrefix+"*"), c.files(examinePrefix+"*")...) {
		if l, err := fsx.Passing(f, fsx.TryLock); err == nil {
			_ = l.Remove()
		}
	}
	return nil
}

// files lists what in the folder of environments has a name like pattern.
func (c *Cache) files(pattern string) []string {
	all, err := os.ReadDir(c.shelf.Dir())
	if err != nil {
		return nil
	}
	var found []string
	for _, f := range all {
		if ok, err := filepath.Match(pattern, f.Name()); err == nil && ok {
			found = append(found, filepath.Join(c.shelf.Dir(), f.Name()))
		}
	}
	return found
}
