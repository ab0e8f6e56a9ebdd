package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"agentctl/internal/crash"
	"agentctl/runtime/internal/record"
)

// late is a mount that is moved into a sandbox which is there already.
type late struct {
	piece
	target string
}

// Late gives the sandbox, before anything of the task runs in it, what is the
// run's own: views of folders, and folders and files themselves, at their own
// paths, and its name. It must be called on the thread that called Create.
func (b *Box) Late(run *record.Run) error {
	if name := hostname(run); name != hostname(b.run) {
		if err := os.WriteFile(b.stage.at("etc", "hostname"), []byte(name+"\n"), 0o644); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	} else if len(run.Overlays)+len(run.Keep) == 0 {
		return nil
	}
	b.run = run
	pieces, err := b.lates(run.Overlays, run.Keep)
	defer func() {
		for _, p := range pieces {
			p.close()
		}
	}()
	if err != nil {
		return err
	}
	slices.SortStableFunc(pieces, func(a, c late) int { return strings.Compare(a.target, c.target) })
	done := make(chan error, 1)
	go func() { done <- b.moveIn(pieces) }()
	err = <-done
	crash.Point("sandbox.moved")
	return err
}

// lates makes the mounts, attached to nothing. What it has made is returned with
// an error too.
func (b *Box) lates(overlays []record.Overlay, keep []string) ([]late, error) {
	type prepared struct {
		lower, upper piece
		err          error
	}
	// On another thread, which sees the host's mounts.
	ready := make(chan prepared, len(overlays)+len(keep))
	go func() {
		for _, o := range overlays {
			l, u, err := b.prepare(o)
			ready <- prepared{l, u, err}
		}
		for _, path := range keep {
			p, err := clone(path, deep|follow, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
			ready <- prepared{lower: p, err: err}
		}
	}()
	var pieces []late
	var failed error
	for i := range len(overlays) + len(keep) {
		p := <-ready
		name := ""
		if i < len(overlays) {
			name = overlays[i].Target
		} else {
			name = keep[i-len(overlays)]
		}
		if p.err == nil && i < len(overlays) && overlays[i].Upper != "" {
			var view piece
			view, p.err = b.overlay(i, p.lower, p.upper)
			p.lower = view
		}
		if p.err != nil {
			failed = errors.Join(failed, fmt.Errorf("cannot show %s to the task: %w", name, p.err))
			continue
		}
		pieces = append(pieces, late{p.lower, name})
	}
	return pieces, failed
}

// prepare makes the lower view of an overlay and, if it has one, its upper folder.
func (b *Box) prepare(o record.Overlay) (low, up piece, err error) {
	if o.Upper == "" {
		low, err = lower(o.Lower, follow, b.parts.ns)
		if errors.Is(err, unix.EINVAL) { // a file system whose owners can't be mapped
			low, err = clone(o.Lower, deep|follow, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
		}
		return low, piece{fd: -1}, err
	}
	if low, err = lower(o.Lower, follow, b.parts.ns); err != nil {
		return low, up, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(low.fd, &st); err == nil {
		err = uppers(o.Upper, b.run.Sandbox.IDs.Base, os.FileMode(st.Mode&0o777|0o700))
	}
	if err == nil {
		up, err = clone(o.Upper, follow, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	}
	if err != nil {
		low.close()
	}
	return low, up, err
}

// overlay puts a view together on the stage and takes it away again, detached.
func (b *Box) overlay(i int, low, up piece) (piece, error) {
	defer func() { low.close(); up.close() }()
	at := "late/" + strconv.Itoa(i)
	if err := errors.Join(low.attach(b.stage.at(at, "l")), up.attach(b.stage.at(at, "u"))); err != nil {
		return piece{}, err
	}
	set := [][2]string{
		{"source", "agentctl-" + b.run.Nonce}, {"lowerdir", at + "/l"},
		{"upperdir", at + "/u/upper"}, {"workdir", at + "/u/work"},
	}
	flags := []string{"volatile"}
	if inUserNS() {
		flags = append(flags, "userxattr")
	}
	fd, err := mountFS("overlay", set, flags)
	if errors.Is(err, unix.EINVAL) { // before 5.10
		fd, err = mountFS("overlay", set, flags[1:])
	}
	return piece{fd: fd, dir: true}, err
}

// mountFS makes a mount of a new file system that is attached to nothing.
func mountFS(typ string, set [][2]string, flags []string) (int, error) {
	fd, err := unix.Fsopen(typ, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, &fs.PathError{Op: "fsopen", Path: typ, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	for _, kv := range set {
		if err := unix.FsconfigSetString(fd, kv[0], kv[1]); err != nil {
			return -1, &fs.PathError{Op: "fsconfig", Path: kv[0], Err: err}
		}
	}
	for _, flag := range flags {
		if err := unix.FsconfigSetFlag(fd, flag); err != nil {
			return -1, &fs.PathError{Op: "fsconfig", Path: flag, Err: err}
		}
	}
	if err := unix.FsconfigCreate(fd); err != nil {
		return -1, &fs.PathError{Op: "fsconfig", Path: typ, Err: err}
	}
	m, err := unix.Fsmount(fd, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
	if err != nil {
		return -1, &fs.PathError{Op: "fsmount", Path: typ, Err: err}
	}
	return m, nil
}

// moveIn attaches pieces inside the sandbox. It takes its thread with it.
func (b *Box) moveIn(pieces []late) error {
	goruntime.LockOSThread() // and never unlocked: the thread ends with the goroutine
	if err := b.enter(); err != nil {
		return fmt.Errorf("cannot enter the sandbox: %w", err)
	}
	if err := unix.Sethostname([]byte(hostname(b.run))); err != nil {
		return fmt.Errorf("cannot name the sandbox: %w", err)
	}
	// What is made inside belongs to the image's root, and is made with its rights.
	base := b.run.Sandbox.IDs.Base
	if err := errors.Join(setfs(unix.SYS_SETFSGID, base), setfs(unix.SYS_SETFSUID, base)); err != nil {
		return err
	}
	for _, p := range pieces {
		if err := p.move(); err != nil {
			return fmt.Errorf("cannot show %s to the task: %w", p.target, err)
		}
	}
	return nil
}

// enter joins the sandbox's namespaces of mounts and names with this thread.
func (b *Box) enter() error {
	var files []*os.File
	defer func() {
		for _, f := range files {
			_ = f.Close()
		}
	}()
	// Opened first: from inside, /proc has other numbers.
	for _, name := range []string{"uts", "mnt"} {
		f, err := os.Open("/proc/" + strconv.Itoa(b.pid) + "/ns/" + name)
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return err
	}
	for i, kind := range []int{unix.CLONE_NEWUTS, unix.CLONE_NEWNS} {
		if err := unix.Setns(int(files[i].Fd()), kind); err != nil {
			return err
		}
	}
	return nil
}

// setfs changes whom the thread's files are made as, and looks that it did.
func setfs(call uintptr, id int) error {
	_, _, _ = unix.RawSyscall(call, uintptr(id), 0, 0)
	if now, _, _ := unix.RawSyscall(call, uintptr(id), 0, 0); int(now) != id {
		return fmt.Errorf("cannot make files as user %d", id)
	}
	return nil
}

// move attaches the piece at its target, which is made where it is missing. An
// image could lead it elsewhere by a link, so none is followed.
func (p late) move() error {
	at, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(at) }()
	names := strings.Split(strings.TrimPrefix(filepath.Clean(p.target), "/"), "/")
	for i, name := range names {
		last := i == len(names)-1
		next, err := step(at, name, p.dir || !last)
		if err != nil {
			return err
		}
		_ = unix.Close(at)
		at = next
	}
	return unix.MoveMount(p.fd, "", at, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// step opens what is called name in a folder, or makes it.
func step(at int, name string, dir bool) (int, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_BENEATH}
	for tried := false; ; tried = true {
		fd, err := unix.Openat2(at, name, &how)
		if errors.Is(err, unix.ENOENT) && !tried {
			if err = makeIn(at, name, dir); err == nil || errors.Is(err, unix.EEXIST) {
				continue
			}
		}
		switch {
		case errors.Is(err, unix.ELOOP):
			return -1, fmt.Errorf("%s is a symbolic link in the image", name)
		case errors.Is(err, unix.EROFS):
			return -1, fmt.Errorf("there is no %s, and the file system is read-only", name)
		case err != nil:
			return -1, &fs.PathError{Op: "open", Path: name, Err: err}
		}
		if isDir(fd) != dir {
			_ = unix.Close(fd)
			return -1, fmt.Errorf("%s in the image is a folder where a file should be, or a file for a folder", name)
		}
		return fd, nil
	}
}

func makeIn(at int, name string, dir bool) error {
	if dir {
		return unix.Mkdirat(at, name, 0o755)
	}
	fd, err := unix.Openat(at, name, unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_WRONLY, 0o644)
	if err == nil {
		err = unix.Close(fd)
	}
	return err
}
