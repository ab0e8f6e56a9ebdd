package envcache

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/samber/lo"

	"agentctl/envcache/internal/relocate"
	"agentctl/internal/tree"
)

// childCopy makes a copy of a leased environment in the task's own folder, for
// those over which a thin one would be only half of it. Blocks are shared where
// the file system can.
func (c *Cache) childCopy(ctx context.Context, l *Lease, dir string, uid, gid int) (ChildEnv, error) {
	if !switches(uid) {
		uid, gid = -1, -1
	}
	if err := tree.Copy(ctx, l.Path, dir, uid, gid, nil); err != nil {
		return ChildEnv{}, err
	}
	if _, err := relocate.Tree(ctx, dir, relocate.Move{Old: l.Path, New: dir}); err != nil {
		return ChildEnv{}, errors.Join(err, tree.Remove(dir))
	}
	return ChildEnv{
		Path: dir, Python: filepath.Join(dir, "bin", "python"), PathDirs: []string{filepath.Join(dir, "bin")}, Variables: moved(l.Variables, l.Path, dir),
	}, nil
}

// moved are variables of an environment that is at another place now.
func moved(variables []string, old, new string) []string {
	return lo.Map(variables, func(kv string, _ int) string { return strings.ReplaceAll(kv, old, new) })
}

// CopyTo makes a whole environment of the one whose key is given, or the beginning of it,
// in a folder that is not there yet. It belongs to the user of this process, and needs
// nothing of the cache but an interpreter that uv installed.
func (c *Cache) CopyTo(ctx context.Context, key, dir string) (ChildEnv, error) {
	e, err := c.Find(key)
	if err != nil {
		return ChildEnv{}, err
	}
	held, err := c.hold(ctx, e.Key)
	if err != nil {
		return ChildEnv{}, fmt.Errorf("cannot copy the environment %s: %w", e.Key, err)
	}
	defer func() { _ = held.Close() }()
	child, err := c.childCopy(ctx, &Lease{Path: held.Path, Key: e.Key, Variables: held.Entry.Variables, held: held}, dir, -1, -1)
	if err != nil {
		return ChildEnv{}, fmt.Errorf("cannot copy the environment %s: %w", e.Key, err)
	}
	return child, nil
}
