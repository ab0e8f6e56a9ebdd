package server

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"agentctl/internal/fsx"
)

// listen opens the three ports. Where any port would do, the one of the last run
// is tried first: the tasks that run now were given it.
func (s *Server) listen(ctx context.Context) error {
	urls := make([]string, 3)
	last := s.lastPorts()
	for i, port := range []int{s.cfg.APIPort, s.cfg.FilesPort, s.cfg.WebPort} {
		l, err := s.open(ctx, port, last[i])
		address := net.JoinHostPort(s.cfg.Listen, strconv.Itoa(port))
		if err != nil {
			return listenError(address, port, err)
		}
		s.listeners = append(s.listeners, l)
		_, got, err := net.SplitHostPort(l.Addr().String())
		if err != nil {
			return fmt.Errorf("cannot listen on %s: %w", address, err)
		}
		urls[i] = "http://" + net.JoinHostPort(s.cfg.Advertise, got)
	}
	s.endpoints = Endpoints{API: urls[0], Files: urls[1], Web: urls[2], PID: os.Getpid()}
	return nil
}

// portPatience is how long the port of the last run is waited for. A killed server that
// is just dying has let go of its lock, and not yet of its ports; and while nobody listens
// there, the port may be the near end of somebody's connection.
const portPatience = 3 * time.Second

func (s *Server) open(ctx context.Context, port, last int) (net.Listener, error) {
	if port == 0 && last != 0 {
		if l, err := s.reopen(ctx, last); err == nil {
			return l, nil
		}
	}
	return s.listenAt(ctx, port)
}

func (s *Server) reopen(ctx context.Context, port int) (net.Listener, error) {
	for deadline := time.Now().Add(portPatience); ; {
		l, err := s.listenAt(ctx, port)
		if !errors.Is(err, unix.EADDRINUSE) || time.Now().After(deadline) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *Server) listenAt(ctx context.Context, port int) (net.Listener, error) {
	var lc net.ListenConfig
	return lc.Listen(ctx, "tcp", net.JoinHostPort(s.cfg.Listen, strconv.Itoa(port)))
}

// lastPorts are the ports that an earlier run had, 0 where it is not known.
func (s *Server) lastPorts() (ports [3]int) {
	var e Endpoints
	if fsx.ReadJSON(filepath.Join(s.cfg.Dir, endpointFile), &e) != nil {
		return ports
	}
	for i, address := range []string{e.API, e.Files, e.Web} {
		if u, err := url.Parse(address); err == nil {
			ports[i], _ = strconv.Atoi(u.Port())
		}
	}
	return ports
}

// listenError names who has the port.
func listenError(address string, port int, err error) error {
	if !errors.Is(err, unix.EADDRINUSE) {
		return fmt.Errorf("cannot listen on %s: %w", address, err)
	}
	owner := portOwner(port)
	if owner == "" {
		owner = "a process of another user"
	}
	return fmt.Errorf("cannot listen on %s: the port is in use by %s; stop it or choose other ports: %w", address, owner, err)
}

// portOwner names the process that listens on a TCP port, as "nginx (pid 7)", or
// "" when it can't be seen.
func portOwner(port int) string {
	inodes := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		listening(table, port, inodes)
	}
	if len(inodes) == 0 {
		return ""
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return ""
	}
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || !inodes[target] {
			continue
		}
		pid := strings.Split(link, "/")[2]
		name, err := os.ReadFile(filepath.Join("/proc", pid, "comm"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			name = []byte("a process")
		}
		return fmt.Sprintf("%s (pid %s)", strings.TrimSpace(string(name)), pid)
	}
	return ""
}

// listening adds the sockets that listen on port, as /proc/PID/fd names them. A
// line of /proc/net/tcp holds: number, local address, remote address, state (0A
// is LISTEN), queues, timer, retransmits, uid, timeout, inode (proc(5)).
func listening(table string, port int, inodes map[string]bool) {
	f, err := os.Open(filepath.Clean(table))
	if err != nil {
		return
	}
	defer func() { _ = f.Close() }()
	suffix := fmt.Sprintf(":%04X", port)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		cols := strings.Fields(lines.Text())
		if len(cols) > 9 && strings.HasSuffix(cols[1], suffix) && cols[3] == "0A" {
			inodes["socket:["+cols[9]+"]"] = true
		}
	}
}
