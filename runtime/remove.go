package runtime

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"agentctl/internal/tree"
)

// RemoveAll removes path and all below it, as os.RemoveAll, and also where a
// task, or overlayfs in its work folder, left folders that their owner may not
// enter.
func RemoveAll(path string) error {
	if os.RemoveAll(path) == nil {
		return nil
	}
	// Follows no links: a task could name another's folder by one.
	err := filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if d == nil || !d.IsDir() {
			return nil
		}
		if err == nil {
			return os.Chmod(p, 0o700)
		}
		return nil
	})
	rerr := os.RemoveAll(path)
	if errors.Is(rerr, fs.ErrPermission) && tree.Elevated != nil {
		rerr = tree.Elevated(path)
	}
	if rerr != nil {
		return fmt.Errorf("cannot remove %s: %w", path, errors.Join(rerr, err))
	}
	return nil
}
