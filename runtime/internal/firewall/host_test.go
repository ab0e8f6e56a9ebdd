package firewall

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/nettest"
)

// In the host's network a task is known by its user.
func TestHostNetwork(t *testing.T) {
	const first, count = 200_000, 1000
	s := newSite(t, 0, func(p *Policy) {
		p.Range = netip.Prefix{}
		p.UID, p.UIDs = first, count
		p.Resolvers = []netip.Addr{netip.MustParseAddr(nettest.CloudAddr)}
	})
	for _, port := range []int{53, 80} {
		s.World.Listen(t, fmt.Sprintf(":%d", port))
	}
	for _, tt := range []struct {
		uid  int
		addr string
		port int
		want string
	}{
		{0, nettest.CloudAddr, 80, nettest.HostAddr},
		{first - 1, nettest.CloudAddr, 80, nettest.HostAddr},
		{first, nettest.CloudAddr, 80, "refused"},
		{first + count - 1, nettest.CloudAddr, 80, "refused"},
		{first + count, nettest.CloudAddr, 80, nettest.HostAddr},
		{first, nettest.WireAddr, 80, "refused"},
		{first, nettest.WireAddr, 53, "refused"},
		{first, nettest.CloudAddr, 53, nettest.HostAddr},
		{first, nettest.FarAddr, 80, nettest.HostAddr},
		{first, nettest.CloudAddr6, 80, "refused"},
		{0, nettest.CloudAddr6, 80, "2001:db8::1"},
		{first, nettest.FarAddr6, 80, "2001:db8::1"},
	} {
		if got := asksAs(s.Host, tt.uid, tt.addr, tt.port); got != tt.want {
			t.Errorf("user %d at %s, port %d: %s; want %s", tt.uid, tt.addr, tt.port, got, tt.want)
		}
	}
}

// asksAs is asks by a socket of another user.
func asksAs(ns nettest.NS, uid int, addr string, port int) string {
	var got string
	_ = ns.Do(func() error {
		// Of this thread alone, which ends here.
		_, _, _ = unix.RawSyscall(unix.SYS_SETFSUID, uintptr(uid), 0, 0)
		c, err := net.DialTimeout("tcp", net.JoinHostPort(addr, fmt.Sprint(port)), 10*time.Second)
		if err != nil {
			got = err.Error()
			if errors.Is(err, unix.ECONNREFUSED) {
				got = "refused"
			}
			return err
		}
		defer func() { _ = c.Close() }()
		buf := make([]byte, 64)
		n, _ := c.Read(buf)
		got = string(buf[:n])
		return nil
	})
	return got
}
