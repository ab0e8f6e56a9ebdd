package sandbox

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"agentctl/runtime/shim/command"
)

// Shim and runner speak in packets: a tag, a number that names one process, and
// what follows; descriptors go beside.
const (
	tagRun    = 'R' // to the runner: execute; a command, and three streams or none for a terminal
	tagSignal = 'K' // to the runner: send a signal, four bytes
	tagBegun  = 'S' // from the runner: it runs; with a terminal's other end
	tagFailed = 'F' // from the runner: it could not be executed, and why
	tagEnded  = 'X' // from the runner: it has ended, with four bytes of wait status
)

// mainID names the task's main process; when it ends the runner does.
const mainID = 0

const (
	maxPacket = 64 << 10
	maxFiles  = 4
	headSize  = 5
)

// packet is one message.
type packet struct {
	tag   byte
	id    uint32
	data  []byte
	files []*os.File
}

func (p packet) close() {
	for _, f := range p.files {
		_ = f.Close()
	}
}

// number is the packet's data as a number.
func (p packet) number() uint32 {
	if len(p.data) != 4 {
		return 0
	}
	return binary.LittleEndian.Uint32(p.data)
}

func number(n uint32) []byte { return binary.LittleEndian.AppendUint32(nil, n) }

// conn is one end of the socket. It may be written by several goroutines: the
// kernel keeps packets whole.
type conn struct{ f *os.File }

func newConn(fd int) (conn, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return conn{}, err
	}
	return conn{os.NewFile(uintptr(fd), "socket")}, nil
}

func (c conn) send(p packet) error {
	buf := append(binary.LittleEndian.AppendUint32([]byte{p.tag}, p.id), p.data...)
	var rights []byte
	if len(p.files) > 0 {
		fds := make([]int, len(p.files))
		for i, f := range p.files {
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
		serr = unix.Sendmsg(int(fd), buf, rights, nil, unix.MSG_NOSIGNAL)
		return !errors.Is(serr, unix.EAGAIN)
	})
	return errors.Join(err, serr)
}

// receive returns the next packet; io.EOF when the other end is gone.
func (c conn) receive() (packet, error) {
	buf, oob := make([]byte, maxPacket), make([]byte, unix.CmsgSpace(4*maxFiles))
	raw, err := c.f.SyscallConn()
	if err != nil {
		return packet{}, err
	}
	var n, oobn, flags int
	var rerr error
	err = raw.Read(func(fd uintptr) bool {
		for {
			n, oobn, flags, _, rerr = unix.Recvmsg(int(fd), buf, oob, unix.MSG_CMSG_CLOEXEC)
			if !errors.Is(rerr, unix.EINTR) {
				return !errors.Is(rerr, unix.EAGAIN)
			}
		}
	})
	if err := errors.Join(err, rerr); err != nil {
		return packet{}, err
	}
	files, err := rights(oob[:oobn])
	p := packet{files: files}
	switch {
	case err != nil:
	case n == 0:
		err = io.EOF
	case n < headSize || flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		err = errors.New("a packet is damaged")
	default:
		p.tag, p.id, p.data = buf[0], binary.LittleEndian.Uint32(buf[1:]), buf[headSize:n]
	}
	if err != nil {
		p.close()
		return packet{}, err
	}
	return p, nil
}

func rights(oob []byte) ([]*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	var files []*os.File
	for _, m := range msgs {
		fds, perr := unix.ParseUnixRights(&m)
		if perr != nil && err == nil {
			err = perr
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return files, err
}

// commandFile hands a command over, which may be longer than a packet.
func commandFile(c command.Command) (*os.File, error) {
	data, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("command", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("cannot hand the command over: %w", err)
	}
	f := os.NewFile(uintptr(fd), "command")
	if _, err := f.WriteAt(data, 0); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("cannot hand the command over: %w", err)
	}
	return f, nil
}

func readCommand(f *os.File) (c command.Command, err error) {
	if err = json.NewDecoder(io.NewSectionReader(f, 0, 1<<40)).Decode(&c); err != nil {
		err = fmt.Errorf("cannot read the command: %w", err)
	}
	return c, err
}
