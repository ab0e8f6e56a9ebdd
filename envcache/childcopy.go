package envcache

import (
	"context"
	"errors"
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
