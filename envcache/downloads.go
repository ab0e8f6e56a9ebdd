package envcache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"agentctl/internal/shelf"
	"agentctl/internal/tree"
)

// cachedFile is one file of a package manager's own cache, or a folder whose files
// are worth nothing one by one: an unpacked package, or a repository.
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
		gone, err := f.remove(root)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return freed, fmt.Errorf("cannot trim downloads: %w", err)
		}
		if gone {
			freed += f.size
		}
	}
	return freed, nil
}

// condaUnit and uvUnit are such folders, and cacheLocks what whoever reads from them holds a
// lock on: who holds one may not lose it.
var (
	condaUnit  = regexp.MustCompile(`^conda-[0-9]+/packages/[^/]+$`)
	uvUnit     = regexp.MustCompile(`^uv-[0-9]+/(archive-v[0-9]+/[^/]+|(git|sdists|builds|environments)-v[0-9]+/[^/]+/[^/]+)$`)
	cacheLocks = regexp.MustCompile(`^(conda-[0-9]+/(packages/[^/]*|repodata/.*)|uv-[0-9]+/.*)\.lock$`)
)

// unitLock is the lock of a unit, "" if name is none.
func unitLock(name string) string {
	switch {
	case condaUnit.MatchString(name):
		return path.Dir(name) + "/.cache.lock"
	case uvUnit.MatchString(name):
		top, _, _ := strings.Cut(name, "/")
		return top + "/.lock"
	}
	return ""
}

// remove removes the file, or the folder if no installation may be reading it.
func (f cachedFile) remove(root *os.Root) (gone bool, err error) {
	name := unitLock(f.rel)
	if name == "" {
		err := root.Remove(f.rel)
		return err == nil, err
	}
	lock, err := root.OpenFile(name, os.O_RDWR|unix.O_NONBLOCK, 0)
	if err != nil {
		return false, err
	}
	defer func() { _ = lock.Close() }()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return false, nil // another time
	}
	err = root.RemoveAll(f.rel)
	return err == nil, err
}

// cachedFiles lists the files below top, the oldest first.
func cachedFiles(top string) ([]cachedFile, error) {
	var files []cachedFile
	err := tree.Walk(top, func(n tree.Node) error {
		switch last := len(files) - 1; {
		case cacheLocks.MatchString(n.Rel):
		case n.Info.IsDir() && unitLock(n.Rel) != "":
			files = append(files, cachedFile{n.Rel, 0, n.Info.ModTime()})
		case !n.Info.Mode().IsRegular():
		case last >= 0 && strings.HasPrefix(n.Rel, files[last].rel+"/"):
			files[last].size += n.Info.Size()
		default:
			files = append(files, cachedFile{n.Rel, n.Info.Size(), n.Info.ModTime()})
		}
		return nil
	}, nil)
	slices.SortFunc(files, func(a, b cachedFile) int { return a.used.Compare(b.used) })
	return files, err
}
