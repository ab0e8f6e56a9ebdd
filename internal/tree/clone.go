package tree

import (
	"os"

	"golang.org/x/sys/unix"
)

// Clones tells whether files of the folder from can be cloned (FICLONE) into the
// folder to: copies that share their blocks until one of them is written.
func Clones(from, to string) bool {
	src, err := os.CreateTemp(from, ".clone-*")
	if err != nil {
		return false
	}
	defer func() { _, _ = os.Remove(src.Name()), src.Close() }()
	dst, err := os.CreateTemp(to, ".clone-*")
	if err != nil {
		return false
	}
	defer func() { _, _ = os.Remove(dst.Name()), dst.Close() }()
	return unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) == nil
}
