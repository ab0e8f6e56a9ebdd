package relay

import (
	"errors"
	"fmt"
	"net"
)

// Listen listens where the task will look for its servers. It must be called on a
// thread in the sandbox's network; connections are taken once Serve has the
// listeners, and wait until then.
func Listen(routes []Route) ([]*net.TCPListener, error) {
	var all []*net.TCPListener
	for _, r := range routes {
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(r.Listen))
		if err != nil {
			Close(all)
			var op *net.OpError
			if errors.As(err, &op) {
				err = op.Err // the rest is in our own words
			}
			return nil, fmt.Errorf("cannot listen for the task's server at %s: %w", r.Listen, err)
		}
		all = append(all, l)
	}
	return all, nil
}

// Close closes listeners that no Serve has got.
func Close(all []*net.TCPListener) {
	for _, l := range all {
		_ = l.Close()
	}
}
