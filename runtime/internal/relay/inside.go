package relay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// The words of Inside, each with what follows.
const (
	wordListening = 'L' // the sockets, in the order of the routes
	wordFailed    = 'F' // why not
)

// maxWord bounds what is read of the other side.
const maxWord = 4 << 10

// Inside listens at the addresses and hands the sockets to Outside by conn, a
// socket that keeps messages apart (SOCK_SEQPACKET). When it returns, connections
// that the task makes are answered, or wait to be.
func Inside(conn *net.UnixConn, listens []netip.AddrPort) error {
	files, err := listen(listens)
	defer closeAll(files)
	word := []byte{wordListening}
	if err != nil {
		word = append([]byte{wordFailed}, err.Error()...)
	}
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	if _, _, werr := conn.WriteMsgUnix(word, unix.UnixRights(fds...), nil); err == nil && werr != nil {
		err = fmt.Errorf("cannot hand over the sockets for the task's server: %w", werr)
	}
	return err
}

func listen(listens []netip.AddrPort) ([]*os.File, error) {
	var files []*os.File
	for _, at := range listens {
		f, err := listenAt(at)
		if err != nil {
			closeAll(files)
			return nil, fmt.Errorf("cannot listen for the task's server at %s: %w", at, err)
		}
		files = append(files, f)
	}
	return files, nil
}

func listenAt(at netip.AddrPort) (*os.File, error) {
	l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		err = sys.Err // the rest is in our own words
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }()
	return l.File()
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// receive takes the sockets from Inside. It is there that a task could have been at
// work, if it had got hold of the runner, so each socket must be what it should be.
func receive(conn *net.UnixConn, routes []Route) ([]*net.TCPListener, error) {
	word, oob := make([]byte, maxWord), make([]byte, unix.CmsgSpace(4*(len(routes)+1)))
	n, oobn, flags, _, err := conn.ReadMsgUnix(word, oob)
	files, ferr := descriptors(oob[:oobn])
	defer closeAll(files)
	switch {
	case err != nil:
		return nil, fmt.Errorf("cannot receive the sockets for the task's server: %w", err)
	case n == 0:
		return nil, errors.New("cannot receive the sockets for the task's server: the sandbox is gone")
	case word[0] == wordFailed:
		return nil, fmt.Errorf("%q", word[1:n])
	case ferr != nil, flags&unix.MSG_CTRUNC != 0, word[0] != wordListening, len(files) != len(routes):
		return nil, fmt.Errorf("cannot use %d sockets for %d servers", len(files), len(routes))
	}
	var listeners []*net.TCPListener
	for i, f := range files {
		l, err := listener(f, routes[i].Listen)
		if err != nil {
			closeListeners(listeners)
			return nil, fmt.Errorf("cannot use the socket for %s: %w", routes[i].Listen, err)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

func descriptors(oob []byte) ([]*os.File, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	var files []*os.File
	for _, m := range messages {
		fds, rerr := unix.ParseUnixRights(&m)
		err = errors.Join(err, rerr)
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "socket"))
		}
	}
	return files, err
}

func listener(f *os.File, want netip.AddrPort) (*net.TCPListener, error) {
	listens, err := unix.GetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return nil, err
	}
	l, err := net.FileListener(f)
	if err != nil {
		return nil, err
	}
	t, ok := l.(*net.TCPListener)
	if !ok || listens == 0 || l.Addr().(*net.TCPAddr).AddrPort() != want {
		_ = l.Close()
		return nil, errors.New("it is another one")
	}
	return t, nil
}

func closeListeners(all []*net.TCPListener) {
	for _, l := range all {
		_ = l.Close()
	}
}
