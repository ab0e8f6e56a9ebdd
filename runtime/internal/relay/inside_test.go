package relay

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A place where nothing may listen is told outside too.
func TestCannotListen(t *testing.T) {
	in, out := pair(t)
	at := netip.MustParseAddrPort("192.0.2.1:80")
	if err := Inside(in, []netip.AddrPort{at}); err == nil || !strings.Contains(err.Error(), "192.0.2.1:80") {
		t.Errorf("inside: %v", err)
	}
	err := Outside(context.Background(), out, []Route{{at, "127.0.0.1:1"}}, Options{})
	if err == nil || !strings.Contains(err.Error(), "192.0.2.1:80") {
		t.Errorf("outside: %v", err)
	}
}

func TestEndBeforeTheHandOver(t *testing.T) {
	_, out := pair(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- Outside(ctx, out, []Route{{netip.MustParseAddrPort("127.0.0.1:1"), "127.0.0.1:1"}}, Options{})
	}()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What a runner that is not ours any more could send.
func TestHostileHandOver(t *testing.T) {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	good, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = good.Close() }()
	c := dial(t, l.Addr().String())
	connected, err := c.File()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = connected.Close() }()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = udp.Close() }()
	datagrams, err := udp.File()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = datagrams.Close() }()
	at := l.Addr().(*net.TCPAddr).AddrPort()
	for name, tt := range map[string]struct {
		word  string
		files []*os.File
		want  netip.AddrPort
	}{
		"none":           {"L", nil, at},
		"too many":       {"L", []*os.File{good, good}, at},
		"far too many":   {"L", []*os.File{good, good, good, good, good, good}, at},
		"another word":   {"X", []*os.File{good}, at},
		"no word":        {"", nil, at},
		"no socket":      {"L", []*os.File{null}, at},
		"datagrams":      {"L", []*os.File{datagrams}, at},
		"a connection":   {"L", []*os.File{connected}, at},
		"another socket": {"L", []*os.File{good}, netip.MustParseAddrPort("127.0.0.1:1")},
		"a lie":          {"F\x1b[2J\n", nil, at},
	} {
		in, out := pair(t)
		var fds []int
		for _, f := range tt.files {
			fds = append(fds, int(f.Fd()))
		}
		if tt.word == "" {
			_ = in.Close()
		} else if _, _, err := in.WriteMsgUnix([]byte(tt.word), unix.UnixRights(fds...), nil); err != nil {
			t.Fatal(err)
		}
		before := open(t)
		got, err := receive(out, []Route{{tt.want, "127.0.0.1:1"}})
		if err == nil || strings.ContainsAny(err.Error(), "\x1b\n") {
			t.Errorf("%s: %d sockets, %v", name, len(got), err)
		}
		if after := open(t); after != before {
			t.Errorf("%s: %d descriptors are open, before %d", name, after, before)
		}
	}
}

// open counts this process's descriptors.
func open(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}
