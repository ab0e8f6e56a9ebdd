package source

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxLinks bounds a chain of links, which may lead in a circle; the kernel's bound.
const maxLinks = 40

// folders lists what must be watched so that nothing that path leads to can change
// unseen: the folder of the file and of every symbolic link on the way to it, with
// all links resolved. Where the way ends too early, it is the last folder that is
// there, since what is missing will be made in it.
func folders(path string) []string {
	var out []string
	at, rest := "/", split(path)
	for links := 0; len(rest) > 0; {
		next := filepath.Join(at, rest[0])
		if rest[0] == ".." { // at holds no links, so this is its real parent
			at, rest = next, rest[1:]
			continue
		}
		fi, err := os.Lstat(next)
		if err == nil && fi.IsDir() && len(rest) > 1 {
			at, rest = next, rest[1:]
			continue
		}
		out = append(out, at)
		if links++; err != nil || fi.Mode()&fs.ModeSymlink == 0 || links > maxLinks {
			break
		}
		target, err := os.Readlink(next)
		if err != nil {
			break
		}
		if filepath.IsAbs(target) {
			at = "/"
		}
		rest = append(split(target), rest[1:]...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// split is not filepath.Clean: behind a link, .. is the parent of its target.
func split(path string) []string {
	return slices.DeleteFunc(strings.Split(path, "/"), func(s string) bool { return s == "" || s == "." })
}
