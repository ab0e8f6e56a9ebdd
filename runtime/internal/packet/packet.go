// Package packet owns the sockets on which processes of one release speak to each
// other in whole messages with descriptors beside: agent and waiting shim, shim
// and runner, agent and exec. It does not know what the messages say.
package packet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	maxSize  = 64 << 10
	maxFiles = 64
)

// Conn is one end of a socket. Its methods may be called from several goroutines:
// the kernel keeps packets whole.
type Conn struct{ f *os.File }

// Pair makes a socket: one end, and the other as a descriptor to hand down.
func Pair() (*Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make a socket: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "socket")
	c, err := Open(fds[0])
	if err != nil {
		_ = theirs.Close()
	}
	return c, theirs, err
}

// Open takes an end's descriptor over.
func Open(fd int) (*Conn, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("cannot use the socket: %w", err)
	}
	return &Conn{os.NewFile(uintptr(fd), "socket")}, nil
}

// Send sends one message, and files beside it, which stay the caller's.
func (c *Conn) Send(message any, files ...*os.File) error {
	data, err := json.Marshal(message)
	if err != nil {
		return err
	}
	return c.SendData(data, files...)
}

// SendData is Send for a message that is encoded already, and not empty.
func (c *Conn) SendData(data []byte, files ...*os.File) error {
	if len(data) > maxSize || len(files) > maxFiles {
		return errors.New("cannot send a message that is so long")
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	raw, err := c.f.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	err = raw.Write(func(fd uintptr) bool {
		for {
			serr = unix.Sendmsg(int(fd), data, rights, nil, unix.MSG_NOSIGNAL)
			if !errors.Is(serr, unix.EINTR) {
				return !errors.Is(serr, unix.EAGAIN)
			}
		}
	})
	return errors.Join(err, serr)
}

// Receive reads the next message and returns the files beside it; io.EOF when the
// other end is closed, or its process has died.
func (c *Conn) Receive(ctx context.Context, message any) ([]*os.File, error) {
	data, files, err := c.ReceiveData(ctx)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(data, message); err != nil {
		CloseAll(files)
		return nil, fmt.Errorf("cannot read a message: %w", err)
	}
	return files, nil
}

// ReceiveData is Receive for a message that the caller decodes.
func (c *Conn) ReceiveData(ctx context.Context) ([]byte, []*os.File, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	data, oob, err := c.read()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	files, ferr := received(oob)
	err = errors.Join(err, ferr)
	if err == nil && len(data) == 0 {
		err = io.EOF
	}
	if err != nil {
		CloseAll(files)
		return nil, nil, err
	}
	return data, files, nil
}

func (c *Conn) read() (data, oob []byte, err error) {
	data, oob = make([]byte, maxSize+1), make([]byte, unix.CmsgSpace(4*maxFiles))
	raw, err := c.f.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	var n, oobn, flags int
	var rerr error
	err = raw.Read(func(fd uintptr) bool {
		for {
			n, oobn, flags, _, rerr = unix.Recvmsg(int(fd), data, oob, unix.MSG_CMSG_CLOEXEC)
			if !errors.Is(rerr, unix.EINTR) {
				return !errors.Is(rerr, unix.EAGAIN)
			}
		}
	})
	if err := errors.Join(err, rerr); err != nil {
		return nil, nil, err
	}
	if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = errors.New("a message is longer than it may be")
	}
	return data[:n], oob[:oobn], err
}

func received(oob []byte) ([]*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var files []*os.File
	for _, m := range msgs {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return files, err
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, nil
}

// Peer is the user of the process at the other end.
func (c *Conn) Peer() (uid int, err error) {
	raw, err := c.f.SyscallConn()
	if err != nil {
		return -1, err
	}
	var cred *unix.Ucred
	var cerr error
	err = raw.Control(func(fd uintptr) { cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(err, cerr); err != nil {
		return -1, fmt.Errorf("cannot tell who connects: %w", err)
	}
	return int(cred.Uid), nil
}

// Close closes the end, which the other one notices.
func (c *Conn) Close() error { return c.f.Close() }

// CloseAll closes files that came with a message.
func CloseAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
