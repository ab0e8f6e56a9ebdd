package envcache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"agentctl/envcache/internal/shelf"
	"agentctl/envcache/internal/tree"
)

// cachedFile is one file of a package manager's own cache.
type cachedFile struct {
	rel  string
	size int64
	used time.Time
}

// trimDownloads removes files of the managers' own caches: those older than the
// age limit, then, as long as the disk has less free than it must have, the
// oldest. A build that is under way downloads again what it misses.
func (c *Cache) trimDownloads(ctx context.Context, lim Limits) (freed int64, err error) {
	if lim.MaxAge <= 0 && lim.MinFree <= 0 {
		return 0, nil
	}
	root, err := os.OpenRoot(filepath.Join(c.state, "cache"))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("cannot trim downloads: %w", err)
	}
	defer func() { _ = root.Close() }()
	files, err := cachedFiles(root.Name())
	if err != nil {
		return 0, fmt.Errorf("cannot trim downloads: %w", err)
	}
	for _, f := range files {
		if err := context.Cause(ctx); err != nil {
			return freed, err
		}
		old := lim.MaxAge > 0 && c.now().Sub(f.used) > lim.MaxAge
		if !old && (lim.MinFree <= 0 || shelf.Free(c.state) >= lim.MinFree) {
			continue
		}
		if err := root.Remove(f.rel); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return freed, fmt.Errorf("cannot trim downloads: %w", err)
		}
		freed += f.size
	}
	return freed, nil
}

// cachedFiles lists the files below top, the oldest first.
func cachedFiles(top string) ([]cachedFile, error) {
	var files []cachedFile
	err := tree.Walk(top, func(n tree.Node) error {
		if n.Info.Mode().IsRegular() {
			files = append(files, cachedFile{n.Rel, n.Info.Size(), n.Info.ModTime()})
		}
		return nil
	}, nil)
	slices.SortFunc(files, func(a, b cachedFile) int { return a.used.Compare(b.used) })
	return files, err
}
