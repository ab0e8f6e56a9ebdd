package envcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Verify compares a leased environment with what was built. A *Changed error
// names what differs; the lease then is to be closed and its key discarded.
func (c *Cache) Verify(ctx context.Context, l *Lease) error { return c.verify(ctx, l, false) }

// VerifyFully is Verify that reads every file, whatever its times say.
func (c *Cache) VerifyFully(ctx context.Context, l *Lease) error { return c.verify(ctx, l, true) }

func (c *Cache) verify(ctx context.Context, l *Lease, full bool) error {
	err := verifyTree(ctx, l.Path, filepath.Join(c.shelf.Dir(), l.Key+manifestSuffix), full)
	var changed *Changed
	if err != nil && !errors.As(err, &changed) {
		return fmt.Errorf("cannot verify an environment: %w", err)
	}
	return err
}

// verifyTree compares a tree with its manifest. What can't be read counts as
// changed: an environment that nobody can vouch for is not one to be leased.
func verifyTree(ctx context.Context, top, manifest string, full bool) error {
	name := filepath.Base(manifest)
	f, err := os.Open(manifest)
	if err != nil {
		return unreadable(ctx, err, name)
	}
	defer func() { _ = f.Close() }()
	m, err := readManifest(f)
	if err != nil {
		return unreadable(ctx, err, name)
	}
	err = m.compare(ctx, top, full)
	var changed *Changed
	if err == nil || errors.As(err, &changed) {
		return err
	}
	return unreadable(ctx, err, "")
}

// unreadable turns an error of reading into one that names what was changed, unless
// it is this process that lacks something.
func unreadable(ctx context.Context, err error, name string) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	for _, own := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		if errors.Is(err, own) {
			return err
		}
	}
	var at *fs.PathError
	if name == "" && errors.As(err, &at) {
		name = at.Path
	}
	c := &Changed{}
	c.add("unreadable", cmp.Or(name, err.Error()))
	return c
}

// Audit verifies the environment of a key and throws it away if it was changed,
// which the *Changed error then says. One that is not there any more is no error.
func (c *Cache) Audit(ctx context.Context, key string) error {
	held, err := c.shelf.Peek(key)
	if err != nil {
		return nil //nolint:nilerr // gone, or thrown away by somebody else
	}
	err = c.Verify(ctx, &Lease{Path: held.Path, Key: key, held: held})
	_ = held.Unlock()
	var changed *Changed
	if errors.As(err, &changed) {
		return errors.Join(err, c.Discard(ctx, key))
	}
	return err
}
