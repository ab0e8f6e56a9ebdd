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

// rewrite changes a file on the stage in its place, which is mounted elsewhere.
func rewrite(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// Late gives the sandbox, before anything of the task runs in it, what is the
// run's own: views of folders, and folders and files themselves, at their own
// paths, and its name. It must be called on the thread that called Create.
func (b *Box) Late(run *record.Run) error {
	if name := hostname(run); name != hostname(b.run) {
		if err := rewrite(b.stage.at("etc", "hostname"), name+"\n"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	} else if len(b.parts.views) == 0 {
		return <-b.parts.given
	}
	b.run = run
	pieces, err := b.stage.finish(b.parts.views)
	err = errors.Join(err, <-b.parts.given)
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

// Begin makes a sandbox that was made ahead begin with what the run has beyond it.
// Late must follow.
func (b *Box) Begin(run *record.Run) { b.parts.beginViews(run) }

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
