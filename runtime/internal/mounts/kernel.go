package mounts

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/record"
)

// kernel is a way of mounting.
type kernel interface {
	// anywhere tells that overlay may be called on any thread.
	anywhere() bool
	// overlay makes the overlay o, not yet at its target.
	overlay(o record.Overlay) (piece, error)
	// bind makes another view of path, not yet anywhere.
	bind(path string) (piece, error)
	// attach puts a piece to its target.
	attach(p piece) error
	// cover mounts an empty folder at path.
	cover(path string) error
	// protect makes the mount at path read-only, and those below it if all is set.
	protect(path string, all bool) error
	close()
}

// newKernel takes detached mounts where the kernel has them (fsopen, open_tree
// and move_mount of 5.2) and no filter forbids them.
func newKernel(s Spec) kernel {
	fd, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil || forceClassic {
		if err == nil {
			_ = unix.Close(fd)
		}
		return &classic{spec: s, stage: -1}
	}
	_ = unix.Close(fd)
	return modern{s}
}

// forceClassic lets tests take the way of old kernels.
var forceClassic bool

// fdPath names an open file for calls that take paths only. It needs no escape
// in mount options, is short enough for fsconfig (255 bytes), and keeps the
// host's paths out of the task's mountinfo.
func fdPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

// openPaths opens folders as handles, all or none.
func openPaths(paths ...string) (fds []int, closeAll func(), err error) {
	closeAll = func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}
	for _, path := range paths {
		fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC|unix.O_DIRECTORY, 0)
		if err != nil {
			closeAll()
			return nil, func() {}, &os.PathError{Op: "open", Path: path, Err: err}
		}
		fds = append(fds, fd)
	}
	return fds, closeAll, nil
}

// isDir looks at an open file.
func isDir(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// overlayOptions are the flags of an overlay, the one that may be missing first:
// volatile (5.10) leaves out the syncing of a whole file system at the end, for
// an upper folder that is of no use to anybody after the run.
func (s Spec) overlayOptions() []string {
	if s.UserNS {
		return []string{"volatile", "userxattr"}
	}
	return []string{"volatile"}
}

func joinOptions(opts []string, fds []int) string {
	return strings.Join(append([]string{
		"lowerdir=" + fdPath(fds[0]), "upperdir=" + fdPath(fds[1]), "workdir=" + fdPath(fds[2]),
	}, opts...), ",")
}
