package control

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"agentctl/internal/fsx"
)

// maxSocketPath is what fits into a sockaddr_un, without the ending NUL.
const maxSocketPath = 107

// Socket is the listening end. Its lock, SOCKET.lock, says who owns the path: a
// socket that a dead agent left is replaced by whoever holds the lock and by
// nobody else, so that two agents can't take the path from each other.
type Socket struct {
	net.Listener
	path string
	lock *fsx.Lock
	once sync.Once
	err  error
}

// Listen makes the socket at path, open to the agent's user alone, and its folder
// if need be. The error is fsx.ErrLocked when another agent lives there.
func Listen(path string) (*Socket, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("cannot listen on %s: the path has %d bytes, a socket's may have %d; choose another with --socket", path, len(path), maxSocketPath)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	lock, err := fsx.TryLock(path + ".lock")
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	l, err := bind(path)
	if err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("cannot listen on %s: %w", path, err)
	}
	return &Socket{Listener: l, path: path, lock: lock}, nil
}

func bind(path string) (net.Listener, error) {
	fi, err := os.Lstat(path)
	switch {
	case err == nil && fi.Mode()&os.ModeSocket == 0:
		return nil, errors.New("there is something else of that name")
	case err == nil:
		err = os.Remove(path)
	case errors.Is(err, fs.ErrNotExist):
		err = nil
	}
	if err != nil {
		return nil, err
	}
	// The file gets the mode of the unbound socket, so at no moment may anybody
	// else connect; a umask would hold for the whole process.
	closed := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var chmod error
		err := c.Control(func(fd uintptr) { chmod = unix.Fchmod(int(fd), 0o600) })
		return errors.Join(err, chmod)
	}}
	l, err := closed.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	// Close removes it under the lock; the listener itself might remove the
	// socket of the agent that came after.
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	return l, nil
}

// Close ends listening and removes the socket; the lock's file stays. Only the
// first call does something: after it the path may be another agent's.
func (s *Socket) Close() error {
	s.once.Do(func() {
		err := s.Listener.Close()
		rm := os.Remove(s.path)
		if errors.Is(rm, fs.ErrNotExist) {
			rm = nil
		}
		s.err = errors.Join(err, rm, s.lock.Close())
	})
	return s.err
}
