// Package order owns the socket by which the agent tells a shim that made its
// sandbox ahead what is to run in it. It is spoken by an agent and the very shim
// that it started, never by two versions.
package order

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

// Word is what one end says to the other.
type Word struct {
	// Dir is the folder of the run that is to be started; the files beside are
	// the run's lock and its leases.
	Dir string `json:"dir,omitempty"`
	// Ready tells that the sandbox is made.
	Ready bool `json:"ready,omitempty"`
	// Taken tells that the run is the shim's from now on.
	Taken bool `json:"taken,omitempty"`
	// Failed says why there is no sandbox, or no run.
	Failed string `json:"failed,omitempty"`
}

const (
	maxWord  = 64 << 10
	maxFiles = 64
)

// Conn is one end.
type Conn struct{ f *os.File }

// Pair makes a socket: one end, and the other as the descriptor to hand down.
func Pair() (*Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot make a socket: %w", err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "order")
	c, err := Open(fds[0])
	if err != nil {
		_ = theirs.Close()
	}
	return c, theirs, err
}

// Open takes over an end's descriptor.
func Open(fd int) (*Conn, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("cannot use the socket: %w", err)
	}
	return &Conn{os.NewFile(uintptr(fd), "order")}, nil
}

// Send sends one word, and files beside it.
func (c *Conn) Send(w Word, files ...*os.File) error {
	data, err := json.Marshal(w)
	if err != nil {
		return err
	}
	if len(data) > maxWord || len(files) > maxFiles {
		return errors.New("cannot hand an order over that is so long")
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
		serr = unix.Sendmsg(int(fd), data, rights, nil, unix.MSG_NOSIGNAL)
		return !errors.Is(serr, unix.EAGAIN)
	})
	return errors.Join(err, serr)
}

// Receive returns the next word and the files beside it; io.EOF when the other
// end is closed.
func (c *Conn) Receive(ctx context.Context) (Word, []*os.File, error) {
	stop := context.AfterFunc(ctx, func() { _ = c.f.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	buf, oob := make([]byte, maxWord), make([]byte, unix.CmsgSpace(4*maxFiles))
	raw, err := c.f.SyscallConn()
	if err != nil {
		return Word{}, nil, err
	}
	var n, oobn int
	var rerr error
	err = raw.Read(func(fd uintptr) bool {
		n, oobn, _, _, rerr = unix.Recvmsg(int(fd), buf, oob, unix.MSG_CMSG_CLOEXEC)
		return !errors.Is(rerr, unix.EAGAIN) && !errors.Is(rerr, unix.EINTR)
	})
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err := errors.Join(err, rerr); err != nil {
		return Word{}, nil, err
	}
	if n == 0 {
		return Word{}, nil, io.EOF
	}
	files, err := received(oob[:oobn])
	if err != nil {
		return Word{}, nil, err
	}
	var w Word
	if err := json.Unmarshal(buf[:n], &w); err != nil {
		return Word{}, files, fmt.Errorf("cannot read an order: %w", err)
	}
	return w, files, nil
}

func received(oob []byte) ([]*os.File, error) {
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

// Close closes the end, which the other one notices.
func (c *Conn) Close() error { return c.f.Close() }
