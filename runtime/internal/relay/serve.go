package relay

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// Options of Serve; the zero value has what is usual.
type Options struct {
	// Limit is how many connections there are at once at most; others wait.
	Limit int
	// Patience is for a server to take a connection.
	Patience time.Duration
	// Report is told that a server can't be reached, once until it can again.
	Report func(err error)
}

const (
	defaultLimit    = 256
	defaultPatience = 15 * time.Second
)

// relay is at work.
type relay struct {
	Options
	slots chan struct{}
	dial  net.Dialer

	mu     sync.Mutex
	silent map[string]bool // servers of which it was told that they are not reached
}

// Serve leads what comes to the listeners, those of Listen, to their servers, until
// ctx ends. Then all connections are cut, and when it returns nothing of it runs any
// more.
func Serve(ctx context.Context, listeners []*net.TCPListener, routes []Route, o Options) {
	if o.Limit == 0 {
		o.Limit = defaultLimit
	}
	if o.Patience == 0 {
		o.Patience = defaultPatience
	}
	if o.Report == nil {
		o.Report = func(error) {}
	}
	r := &relay{Options: o, slots: make(chan struct{}, o.Limit), dial: net.Dialer{Timeout: o.Patience}, silent: map[string]bool{}}
	var all sync.WaitGroup
	for i, l := range listeners {
		all.Go(func() { r.accept(ctx, l, routes[i].Server) })
	}
	<-ctx.Done()
	Close(listeners)
	all.Wait()
}

// accept leads all connections of one listener. At the limit it takes no more: they
// wait in the kernel, where the task would have them wait for a busy server too.
func (r *relay) accept(ctx context.Context, l *net.TCPListener, server string) {
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		c, err := l.AcceptTCP()
		if ctx.Err() != nil {
			if err == nil {
				cut(c)
			}
			return
		}
		if err != nil {
			// As when there are too many open files: it passes, or the task ends.
			r.tell(ctx, server, err)
			pause(ctx)
			continue
		}
		select {
		case r.slots <- struct{}{}:
		case <-ctx.Done():
			cut(c)
			return
		}
		conns.Go(func() {
			defer func() { <-r.slots }()
			r.lead(ctx, c, server)
		})
	}
}

// acceptPause is how long nothing is accepted after a failure.
const acceptPause = 50 * time.Millisecond

func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(acceptPause):
	}
}

// lead connects to the server and copies both ways.
func (r *relay) lead(ctx context.Context, task *net.TCPConn, server string) {
	c, err := r.dial.DialContext(ctx, "tcp", server)
	r.tell(ctx, server, err)
	if err != nil {
		cut(task)
		return
	}
	splice(ctx, task, c.(*net.TCPConn))
}

func (r *relay) tell(ctx context.Context, server string, err error) {
	if ctx.Err() != nil {
		return
	}
	r.mu.Lock()
	told := r.silent[server]
	r.silent[server] = err != nil
	r.mu.Unlock()
	if err != nil && !told {
		r.Report(fmt.Errorf("cannot reach the task's server %s: %w", server, err))
	}
}
