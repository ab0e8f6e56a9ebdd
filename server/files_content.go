package server

import (
	"context"
	"encoding/hex"
	"errors"
	"hash"
	"io/fs"
	"log/slog"
	"path"
	"syscall"
)

// contentDir holds one link to each content, by its sum: what is uploaded twice is
// a further link to the first. A path is a file as any other, so that nothing but
// the saving depends on this folder, and it may be missing.
const contentDir = ".content"

func contentPath(sum hash.Hash) string {
	name := hex.EncodeToString(sum.Sum(nil))
	return path.Join(contentDir, name[:2], name)
}

// share turns a received file into a link to the same content, if that is there,
// and else makes it the one that others will link to. Where links can't be had,
// as on some file systems, the file stays alone.
func (f *fileStore) share(tmp string, sum hash.Hash) string {
	blob := contentPath(sum)
	same := path.Join(receivedDir, newID())
	if f.root.Link(blob, same) == nil {
		if f.sameSize(same, tmp) && f.root.Remove(tmp) == nil {
			return same
		}
		_ = f.root.Remove(same) // a blob that is not whole: leave it alone
		return tmp
	}
	if f.root.MkdirAll(path.Dir(blob), 0o700) == nil {
		_ = f.root.Link(tmp, blob) // fails where there are no links
	}
	return tmp
}

func (f *fileStore) sameSize(a, b string) bool {
	x, errX := f.root.Stat(a)
	y, errY := f.root.Stat(b)
	return errX == nil && errY == nil && x.Size() == y.Size()
}

// unused tells whether no path links to a content.
func (f *fileStore) unused(d fs.DirEntry) bool {
	info, err := d.Info()
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 1
}

// sweep removes contents that no path links to any more. An upload that has just
// linked to one keeps it by its own link.
func (f *fileStore) sweep(ctx context.Context, log *slog.Logger) {
	if !f.dirty.Swap(false) {
		return
	}
	removed := 0
	err := fs.WalkDir(f.root.FS(), contentDir, func(p string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil { // the next server goes on
			return fs.SkipAll
		}
		if errors.Is(err, fs.ErrNotExist) { // gone meanwhile
			return nil
		}
		if err == nil && !d.IsDir() && f.unused(d) && f.root.Remove(p) == nil {
			removed++
		}
		return err
	})
	if err != nil {
		log.Error("contents of deleted files not removed", "error", err)
	} else if removed > 0 {
		log.Info("contents of deleted files removed", "files", removed)
	}
}
