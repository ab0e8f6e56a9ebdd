package fsx

import (
	"fmt"
	"path/filepath"
	"strings"
)

// SafeJoin joins a hostile relative path below root. It fails for a path that
// is absolute, empty of meaning outside root, or holds a NUL; it does not
// resolve symbolic links: use os.Root for what is opened.
func SafeJoin(root, path string) (string, error) {
	if strings.ContainsRune(path, 0) || !filepath.IsLocal(path) {
		return "", fmt.Errorf("path %q leads out of its folder", path)
	}
	return filepath.Join(root, path), nil
}
