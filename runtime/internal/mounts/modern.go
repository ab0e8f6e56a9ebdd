package mounts

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/record"
)

// modern mounts by descriptors: a mount is made detached and then moved.
type modern struct{ spec Spec }

func (m modern) anywhere() bool { return true }

func (m modern) close() {}

func (m modern) overlay(o record.Overlay) (piece, error) {
	fds, closeAll, err := openPaths(o.Lower, o.UpperDir(), o.WorkDir())
	if err != nil {
		return piece{fd: -1}, err
	}
	defer closeAll()
	set := map[string]string{
		"source": m.spec.Mark, "lowerdir": fdPath(fds[0]), "upperdir": fdPath(fds[1]), "workdir": fdPath(fds[2]),
	}
	flags := m.spec.overlayOptions()
	fd, err := mountFS("overlay", set, flags, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		fd, err = mountFS("overlay", set, flags[1:], unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	}
	return piece{fd: fd}, err
}

func (m modern) bind(path string) (piece, error) {
	fd, err := unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return piece{fd: -1}, err
	}
	return piece{fd: fd, dir: isDir(fd)}, nil
}

func (m modern) attach(p piece) error { return move(p.fd, p.target) }

func move(fd int, target string) error {
	return unix.MoveMount(fd, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_SYMLINKS)
}

func (m modern) cover(path string) error {
	if _, err := os.Stat(path); err != nil {
		return err
	}
	fd, err := mountFS("tmpfs", map[string]string{"source": m.spec.Mark, "mode": "0755", "size": "1m"}, nil,
		unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return move(fd, path)
}

func (m modern) protect(path string, all bool) error { return readOnly(path, all) }

// readOnly falls back, before 5.12, to a remount of the one mount, which must
// name the flags it has or lose them, and may not lose those of the host.
func readOnly(path string, all bool) error {
	attr, flags := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}, uint(0)
	if all {
		flags = unix.AT_RECURSIVE
	}
	err := unix.MountSetattr(unix.AT_FDCWD, path, flags, &attr)
	if !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM) {
		return err
	}
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return err
	}
	const kept = unix.ST_NOSUID | unix.ST_NODEV | unix.ST_NOEXEC | unix.ST_NOATIME | unix.ST_NODIRATIME | unix.ST_RELATIME
	keep := uintptr(st.Flags&kept) &^ unix.ST_RELATIME
	if st.Flags&unix.ST_RELATIME != 0 {
		keep |= unix.MS_RELATIME
	}
	return unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|keep, "")
}

// mountFS makes a mount of a new file system that is nowhere yet.
func mountFS(typ string, set map[string]string, flags []string, attrs int) (int, error) {
	fs, err := unix.Fsopen(typ, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("cannot use %s: %w", typ, err)
	}
	defer func() { _ = unix.Close(fs) }()
	for key, value := range set {
		if err := unix.FsconfigSetString(fs, key, value); err != nil {
			return -1, explain(fs, key, err)
		}
	}
	for _, flag := range flags {
		if err := unix.FsconfigSetFlag(fs, flag); err != nil {
			return -1, explain(fs, flag, err)
		}
	}
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, explain(fs, typ, err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, attrs)
	if err != nil {
		return -1, explain(fs, typ, err)
	}
	return fd, nil
}

// explain adds what the kernel has to say about a failed mount.
func explain(fs int, what string, err error) error {
	var why []string
	for {
		var buf [1024]byte
		n, rerr := unix.Read(fs, buf[:])
		if rerr != nil || n <= 2 {
			break
		}
		why = append(why, strings.TrimSpace(string(buf[2:n])))
	}
	if len(why) == 0 {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w (%s)", what, err, strings.Join(why, "; "))
}
