package relay

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve runs do for each connection to a new address.
func serve(t testing.TB, do func(c *net.TCPConn)) string {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.AcceptTCP()
			if err != nil {
				return
			}
			all.Go(func() {
				defer func() { _ = c.Close() }()
				do(c)
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); all.Wait() })
	return l.Addr().String()
}

// echo answers with what it got, when it got all of it.
func echo(c *net.TCPConn) {
	all, err := io.ReadAll(c)
	if err == nil {
		_, _ = c.Write(all)
	}
}

// relayed starts a relay and returns, for each server, where it is to be had;
// stop ends them.
func relayed(t testing.TB, o Options, servers ...string) (at []string, stop func()) {
	t.Helper()
	var routes []Route
	for i, s := range servers {
		// Other loopback addresses are not in use on this port.
		r := Route{netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 44, byte(rand.N(256)), byte(rand.N(254) + 1)}), uint16(20_000+i)), s}
		routes, at = append(routes, r), append(at, r.Listen.String())
	}
	listeners, err := Listen(routes)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { Serve(ctx, listeners, routes, o); close(done) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return at, stop
}

func dial(t testing.TB, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	return c.(*net.TCPConn)
}

// ask sends data and its end, and returns the answer.
func ask(c *net.TCPConn, data []byte) ([]byte, error) {
	if _, err := c.Write(data); err != nil {
		return nil, err
	}
	if err := c.CloseWrite(); err != nil {
		return nil, err
	}
	return io.ReadAll(c)
}

func TestManyConnectionsWithHalfClose(t *testing.T) {
	named := serve(t, echo)
	_, port, _ := net.SplitHostPort(named)
	at, _ := relayed(t, Options{}, "localhost:"+port, serve(t, func(c *net.TCPConn) {
		all, _ := io.ReadAll(c)
		_, _ = fmt.Fprintf(c, "%x", sha256.Sum256(all))
	}))
	var all errgroup.Group
	for i := range 200 {
		c := dial(t, at[i%2])
		all.Go(func() error {
			data := bytes.Repeat([]byte{byte(i)}, i*500)
			want := data
			if i%2 == 1 {
				want = fmt.Appendf(nil, "%x", sha256.Sum256(data))
			}
			got, err := ask(c, data)
			if err == nil && !bytes.Equal(got, want) {
				err = fmt.Errorf("connection %d got %d bytes", i, len(got))
			}
			return err
		})
	}
	if err := all.Wait(); err != nil {
		t.Error(err)
	}
}

// A server that does not read holds the task back, and nothing is lost.
func TestMuchAndSlow(t *testing.T) {
	const size = 100 << 20
	read := make(chan struct{})
	at, _ := relayed(t, Options{}, serve(t, func(c *net.TCPConn) {
		<-read
		sum := sha256.New()
		n, _ := io.Copy(sum, c)
		_, _ = fmt.Fprintf(c, "%d %x", n, sum.Sum(nil))
	}))
	c := dial(t, at[0])
	data := bytes.Repeat([]byte("0123456789abcde\n"), size/16)
	_ = c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	n, err := c.Write(data)
	if !errors.Is(err, os.ErrDeadlineExceeded) || n > size/2 {
		t.Errorf("%d bytes went to a server that reads none: %v", n, err)
	}
	close(read)
	_ = c.SetWriteDeadline(time.Now().Add(time.Minute))
	got, err := ask(c, data[n:])
	if want := fmt.Sprintf("%d %x", size, sha256.Sum256(data)); string(got) != want || err != nil {
		t.Errorf("it got %s, %v; want %s", got, err, want)
	}
}

// What breaks is not taken for an end, in either direction.
func TestResetsAreSeen(t *testing.T) {
	seen := make(chan error, 1)
	at, _ := relayed(t, Options{},
		serve(t, func(c *net.TCPConn) {
			_, _ = c.Write([]byte("half"))
			_, _ = c.Read(make([]byte, 1))
			cut(c)
		}),
		serve(t, func(c *net.TCPConn) {
			_, err := io.ReadAll(c)
			seen <- err
		}))
	c := dial(t, at[0])
	if _, err := io.ReadFull(c, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	_, _ = c.Write([]byte("x"))
	if _, err := io.ReadAll(c); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the task saw %v", err)
	}
	c = dial(t, at[1])
	_, _ = c.Write([]byte("half"))
	cut(c)
	if err := <-seen; !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("the server saw %v", err)
	}
}

// The end cuts what is under way: an answer that does not come, a connection that
// is not made.
func TestEndCutsAll(t *testing.T) {
	at, stop := relayed(t, Options{Patience: time.Hour}, serve(t, func(c *net.TCPConn) {
		_, _ = c.Write([]byte("!"))
		_, _ = io.Copy(io.Discard, c)
	}), hanging(t))
	answered, waiting := dial(t, at[0]), dial(t, at[1])
	if _, err := io.ReadFull(answered, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	stop()
	for _, c := range []*net.TCPConn{answered, waiting} {
		if _, err := io.ReadAll(c); !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("the task saw %v", err)
		}
	}
	if c, err := net.Dial("tcp", at[0]); err == nil {
		_ = c.Close()
		t.Error("it is still listening")
	}
}

func TestLimit(t *testing.T) {
	at, _ := relayed(t, Options{Limit: 2}, serve(t, func(c *net.TCPConn) {
		_, _ = c.Write([]byte("!"))
		_, _ = io.Copy(io.Discard, c)
	}))
	var conns []*net.TCPConn
	for range 3 {
		conns = append(conns, dial(t, at[0]))
	}
	for _, c := range conns[:2] {
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	_ = conns[2].SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := conns[2].Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("one over the limit: %v", err)
	}
	_ = conns[0].Close()
	_ = conns[2].SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.ReadFull(conns[2], make([]byte, 1)); err != nil {
		t.Errorf("when one has ended: %v", err)
	}
}

// One address that can't be had leaves none in use.
func TestCannotListen(t *testing.T) {
	free := netip.MustParseAddrPort("127.44.0.1:20000")
	_, err := Listen([]Route{{free, ""}, {netip.MustParseAddrPort("192.0.2.1:80"), ""}})
	if err == nil || !strings.Contains(err.Error(), "for the task's server at 192.0.2.1:80") {
		t.Error(err)
	}
	l, err := Listen([]Route{{free, ""}})
	if err != nil {
		t.Error(err)
	}
	Close(l)
}
