package worker

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"agentctl/spec"

	"golang.org/x/sync/singleflight"
)

// connection hands out the ways to servers, making each once. A task reports to
// the server it came from, so more than one can be in use after server.url has
// changed.
type connection struct {
	connect func(context.Context, spec.Server) (Conn, error)
	note    func(url string, err error)

	making singleflight.Group // the embedded server must not be started twice
	mu     sync.Mutex
	conns  map[spec.Server]Conn
}

func newConnection(connect func(context.Context, spec.Server) (Conn, error), note func(string, error)) *connection {
	return &connection{connect: connect, note: note, conns: map[spec.Server]Conn{}}
}

// key drops what does not change the way to a server.
func key(s spec.Server) spec.Server {
	s.PollInterval, s.LogAge, s.LogSize = 0, 0, 0
	return s
}

// get returns the way to s, from memory if it was made before.
func (c *connection) get(ctx context.Context, s spec.Server) (Conn, error) {
	c.mu.Lock()
	conn, ok := c.conns[key(s)]
	c.mu.Unlock()
	if ok {
		return conn, nil
	}
	made, err, _ := c.making.Do(s.URL+"\x00"+s.CredentialsFile, func() (any, error) {
		conn, err := c.connect(ctx, s)
		if err != nil {
			return Conn{}, err
		}
		c.mu.Lock()
		c.conns[key(s)] = conn
		c.mu.Unlock()
		return conn, nil
	})
	if err != nil {
		c.note(serverName(s), err)
		return Conn{}, err
	}
	return made.(Conn), nil
}

// serverName is how the status calls a server.
func serverName(s spec.Server) string {
	if s.URL == "" {
		return "embedded"
	}
	return s.URL
}

// lost forgets the way to s after a call failed, so that the next get makes sure
// that the server is there: the embedded one may have died.
func (c *connection) lost(s spec.Server, err error) {
	c.mu.Lock()
	delete(c.conns, key(s))
	c.mu.Unlock()
	c.note(serverName(s), err)
}

// pause waits before attempt n (from 0) of a call that failed: 100 ms, doubled
// up to 15 s, with jitter so that a fleet does not come back as one.
func pause(ctx context.Context, n int) error {
	t := time.NewTimer(backOff(n))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

func backOff(n int) time.Duration {
	d := min(100*time.Millisecond<<min(n, 8), 15*time.Second)
	return d/2 + rand.N(d/2)
}
