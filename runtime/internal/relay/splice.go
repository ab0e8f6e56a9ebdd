package relay

import (
	"context"
	"io"
	"net"
	"sync"
)

// splice copies between two connections, each way until its end, which is passed on
// while the other way goes on. A connection that breaks breaks the other: its peer
// must not take what it got for all there was. It returns when both are closed.
func splice(ctx context.Context, a, b *net.TCPConn) {
	stop := context.AfterFunc(ctx, func() { cut(a); cut(b) })
	var ways sync.WaitGroup
	for _, way := range [][2]*net.TCPConn{{a, b}, {b, a}} {
		ways.Go(func() {
			// Between two of TCP the kernel does it, and holds back who is too fast.
			_, err := io.Copy(way[1], way[0])
			if err == nil {
				err = way[1].CloseWrite()
			}
			if err != nil {
				cut(a)
				cut(b)
			}
		})
	}
	ways.Wait()
	stop()
	_ = a.Close()
	_ = b.Close()
}

// cut closes a connection so that its peer sees an error, and not the end.
func cut(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}
