package quota

import (
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Of linux/fs.h, linux/quota.h and linux/dqblk_xfs.h, which golang.org/x/sys lacks.
// The commands of XFS are those of all file systems.
const (
	fsGetXattr     = 0x801c581f
	fsSetXattr     = 0x401c5820
	projectInherit = 0x200

	projectQuota = 2
	getQuota     = 'X'<<8 + 3
	setLimits    = 'X'<<8 + 4
	getState     = 'X'<<8 + 5
	enforced     = 1 << 5
	hardBytes    = 1 << 3
	blockSize    = 512
)

// fsXattr is struct fsxattr.
type fsXattr struct {
	flags, extentSize, extents, project, cowExtentSize uint32
	_                                                  [8]byte
}

// diskQuota is struct fs_disk_quota.
type diskQuota struct {
	version, flags                                 int8
	fields                                         uint16
	id                                             uint32
	hardBlocks, softBlocks, hardInodes, softInodes uint64
	blocks, inodes                                 uint64
	_                                              [56]byte
}

// errNone means that a file system has no project quotas.
var errNone = errors.New("its file system has no project quotas in force: mount it with prjquota (XFS; ext4 made with -O quota,project)")

// available tells why project quotas don't work below an open folder.
func available(dir *os.File) error {
	var state [128]byte // struct fs_quota_stat, which is shorter
	err := quotactl(dir, getState, 0, unsafe.Pointer(&state))
	flags := *(*uint16)(unsafe.Pointer(&state[2]))
	switch {
	case errors.Is(err, unix.EPERM):
		return errors.New("only root may set quotas")
	case errors.Is(err, unix.ENOSYS) && !hasCall():
		return errors.New("the kernel is older than Linux 5.14")
	case err != nil || flags&enforced == 0:
		return errNone
	}
	_, err = xattr(dir)
	return err
}

// hasCall tells a kernel without the call from a file system that has no quotas: both
// answer ENOSYS, but the first of a descriptor that is none too.
func hasCall() bool {
	_, _, errno := unix.Syscall6(unix.SYS_QUOTACTL_FD, ^uintptr(0), getState<<8|projectQuota, 0, 0, 0, 0)
	return errno != unix.ENOSYS
}

func quotactl(dir *os.File, command int, id uint32, at unsafe.Pointer) error {
	_, _, errno := unix.Syscall6(unix.SYS_QUOTACTL_FD, dir.Fd(), uintptr(command<<8|projectQuota), uintptr(id), uintptr(at), 0, 0)
	if errno != 0 {
		return os.NewSyscallError("quotactl", errno)
	}
	return nil
}

func xattr(dir *os.File) (fsXattr, error) {
	var x fsXattr
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), fsGetXattr, uintptr(unsafe.Pointer(&x)))
	if errno != 0 {
		return x, os.NewSyscallError("FS_IOC_FSGETXATTR", errno)
	}
	return x, nil
}

// used tells whether a project's number has files or a limit already, of whomever.
func used(dir *os.File, id uint32) (bool, error) {
	var q diskQuota
	err := quotactl(dir, getQuota, id, unsafe.Pointer(&q))
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
		return false, nil
	}
	return q.blocks > 0 || q.inodes > 0 || q.hardBlocks > 0 || q.softBlocks > 0, err
}

// limit limits a project's bytes; 0 is no limit.
func limit(dir *os.File, id uint32, bytes int64) error {
	q := diskQuota{version: 1, flags: projectQuota, fields: hardBytes, id: id, hardBlocks: uint64((bytes + blockSize - 1) / blockSize)}
	return quotactl(dir, setLimits, id, unsafe.Pointer(&q))
}

// assign makes a folder, which must be empty, and all that will be made below it part of
// a project.
func assign(folder string, id uint32) error {
	dir, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }()
	if _, err := dir.ReadDir(1); !errors.Is(err, io.EOF) {
		return errors.Join(fmt.Errorf("%s is not empty: what is in it would not be counted", folder), err)
	}
	x, err := xattr(dir)
	if err != nil {
		return err
	}
	x.flags, x.project = x.flags|projectInherit, id
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, dir.Fd(), fsSetXattr, uintptr(unsafe.Pointer(&x))); errno != 0 {
		return os.NewSyscallError("FS_IOC_FSSETXATTR", errno)
	}
	return nil
}
