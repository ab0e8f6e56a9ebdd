package packet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Listener is a socket with a name in a folder, for its owner alone.
type Listener struct{ f *os.File }

// inDir calls do with a name for a file of the folder that is short enough for a
// socket's address (108 bytes), however long the folder's path is.
func inDir(dir, name string, do func(path string) error) error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	return do("/proc/self/fd/" + strconv.Itoa(fd) + "/" + name)
}

// Listen makes the socket called name in dir.
func Listen(dir, name string) (*Listener, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot make a socket: %w", err)
	}
	err = inDir(dir, name, func(path string) error {
		// There with its mode, and with somebody who listens: who finds it is not refused.
		fresh := path + ".new"
		_ = unix.Unlink(fresh)
		err := errors.Join(unix.Fchmod(fd, 0o600), unix.Bind(fd, &unix.SockaddrUnix{Name: fresh}), unix.Listen(fd, 16))
		if err != nil {
			return err
		}
		return unix.Rename(fresh, path)
	})
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("cannot listen in %s: %w", dir, err)
	}
	return &Listener{os.NewFile(uintptr(fd), name)}, nil
}

// Accept waits for the next who connects.
func (l *Listener) Accept() (*Conn, error) {
	raw, err := l.f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd, aerr := -1, error(nil)
	err = raw.Read(func(lfd uintptr) bool {
		fd, _, aerr = unix.Accept4(int(lfd), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		return !errors.Is(aerr, unix.EAGAIN) && !errors.Is(aerr, unix.EINTR) && !errors.Is(aerr, unix.ECONNABORTED)
	})
	if err := errors.Join(err, aerr); err != nil {
		return nil, err
	}
	return Open(fd)
}

// Close ends the listening.
func (l *Listener) Close() error { return l.f.Close() }

// Dial connects to the socket called name in dir, until ctx ends: where nobody accepts,
// as many as may wait do so already.
func Dial(ctx context.Context, dir, name string) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot make a socket: %w", err)
	}
	err = inDir(dir, name, func(path string) error { return connect(ctx, fd, path) })
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("cannot connect to %s in %s: %w", name, dir, err)
	}
	return Open(fd)
}

func connect(ctx context.Context, fd int, path string) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		if !errors.Is(err, unix.EAGAIN) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}
