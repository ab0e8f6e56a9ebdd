package firewall

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/nettest"
)

// A server that speaks MPTCP names an address to which the kernel then connects by
// itself, by a socket that is nobody's. One that is a metadata service gets no packet.
func TestSocketsOfTheKernel(t *testing.T) {
	s := newSite(t, 0, func(p *Policy) {
		p.Range = netip.Prefix{}
		p.UID, p.UIDs = 200_000, 1000
	})
	s.World.Address(t, "lo", "192.0.2.99/32")
	for _, a := range []string{nettest.CloudAddr, "192.0.2.99"} {
		err := s.World.Do(func() error { return announce(a) })
		if errors.Is(err, unix.ENOENT) {
			t.Skip("the kernel has no MPTCP")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	s.Host.Must(t, func() error {
		return mptcp(5, attr(2, nl.Uint32Attr(4)), attr(3, nl.Uint32Attr(4))) // how many it follows
	})
	server := s.mptcpServer(t)
	s.Host.Must(t, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_MPTCP)
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(fd), "mptcp")
		defer func() { _ = f.Close() }()
		if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{203, 0, 113, 2}, Port: server}); err != nil {
			return err
		}
		buf := make([]byte, 1)
		deadline := time.Now().Add(10 * time.Second)
		for s.seen(t, "MPJoinAckRx") == 0 && time.Now().Before(deadline) {
			if _, err = f.Write(buf); err == nil {
				_, err = io.ReadFull(f, buf)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	// That to the other address comes, so it would have come, too: it was named first.
	if rx := s.seen(t, "MPJoinSynRx"); rx != 1 {
		t.Errorf("%d further connections came; want 1", rx)
	}
}

// mptcpServer echoes, byte by byte, and returns its port.
func (s *site) mptcpServer(t *testing.T) (port int) {
	t.Helper()
	s.World.Must(t, func() error {
		lc := net.ListenConfig{}
		lc.SetMultipathTCP(true)
		l, err := lc.Listen(t.Context(), "tcp4", ":0")
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = l.Close() })
		port = l.Addr().(*net.TCPAddr).Port
		go func() {
			if c, err := l.Accept(); err == nil {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			}
		}()
		return nil
	})
	return port
}

// announce has the kernel name an address to all that connect.
func announce(addr string) error {
	a := netip.MustParseAddr(addr).As4()
	return mptcp(1, nested(1, attr(1, nl.Uint16Attr(unix.AF_INET)), attr(3, a[:]), attr(6, nl.Uint32Attr(1))))
}

// mptcp gives an order to the kernel's manager of paths; numbers are of
// linux/mptcp_pm.h.
func mptcp(command uint8, attrs ...*nl.RtAttr) error {
	family, err := netlink.GenlFamilyGet("mptcp_pm")
	if err != nil {
		return err
	}
	req := nl.NewNetlinkRequest(int(family.ID), unix.NLM_F_ACK)
	req.AddData(&nl.Genlmsg{Command: command, Version: 1})
	for _, a := range attrs {
		req.AddData(a)
	}
	_, err = req.Execute(unix.NETLINK_GENERIC, 0)
	return err
}

func attr(kind int, data []byte) *nl.RtAttr { return nl.NewRtAttr(kind, data) }

func nested(kind int, attrs ...*nl.RtAttr) *nl.RtAttr {
	all := nl.NewRtAttr(kind|unix.NLA_F_NESTED, nil)
	for _, a := range attrs {
		all.AddChild(a)
	}
	return all
}

// seen reads a counter of MPTCP outside; -1 if it can't.
func (s *site) seen(t *testing.T, name string) (n int) {
	t.Helper()
	err := s.World.Do(func() error {
		data, err := os.ReadFile("/proc/thread-self/net/netstat")
		if err != nil {
			return err
		}
		var names []string
		for line := range strings.Lines(string(data)) {
			fields := strings.Fields(line)
			if fields[0] != "MPTcpExt:" {
				continue
			}
			if names == nil {
				names = fields
				continue
			}
			for i := range names {
				if names[i] == name {
					n, err = strconv.Atoi(fields[i])
					return err
				}
			}
		}
		return fmt.Errorf("there is no counter %s", name)
	})
	if err != nil {
		t.Error(err)
		return -1
	}
	return n
}
