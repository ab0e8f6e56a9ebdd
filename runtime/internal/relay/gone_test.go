package relay

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestServerThatIsNotThere(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	for name, server := range map[string]string{"refuses": gone.Addr().String(), "hangs": hanging(t)} {
		t.Run(name, func(t *testing.T) {
			told := make(chan error, 10)
			at, stop := relayed(t, Options{Patience: 50 * time.Millisecond, Report: func(err error) { told <- err }}, server, serve(t, echo))
			for range 3 {
				if err := try(at[0]); !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE) && !errors.Is(err, unix.ENOTCONN) {
					t.Errorf("the task saw %v", err)
				}
			}
			if got, err := ask(dial(t, at[1]), []byte("y")); string(got) != "y" || err != nil {
				t.Errorf("the other server: %q, %v", got, err)
			}
			stop()
			if len(told) != 1 {
				t.Errorf("told %d times", len(told))
			}
			if err := <-told; !strings.HasPrefix(err.Error(), "cannot reach the task's server "+server) {
				t.Error(err)
			}
		})
	}
}

// try asks a server that may cut the connection as soon as it is there.
func try(addr string) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	_, err = ask(c.(*net.TCPConn), []byte("x"))
	return err
}

// hanging is a server whose queue is full, so that connecting waits.
func hanging(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	if err == nil {
		err = unix.Listen(fd, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", sa.(*unix.SockaddrInet4).Port)
	for {
		c, err := net.DialTimeout("tcp", addr, 100*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { _ = c.Close() })
	}
}
