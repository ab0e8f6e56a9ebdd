package shim

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync/atomic"

	"agentctl/internal/crash"
	"agentctl/runtime/internal/aside"
	"agentctl/runtime/internal/netns"
	"agentctl/runtime/internal/record"
	"agentctl/runtime/internal/relay"
)

// network is what a sandbox without the host's network has beside an empty
// namespace: a way out where it is private, and the way to the task's servers.
type network struct {
	run     *record.Run
	stop    context.CancelFunc
	done    chan struct{}           // closed when the relay has ended
	console atomic.Pointer[console] // nil until there is a task
}

// openNetwork makes the network of a sandbox whose init is process pid and in which
// nothing of the task's runs yet.
func openNetwork(run *record.Run, pid int) (*network, error) {
	if run.Sandbox.Network.Mode == record.NetworkHost {
		return nil, nil
	}
	ns, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, fmt.Errorf("cannot find the network of the sandbox: %w", err)
	}
	defer func() { _ = ns.Close() }()
	n := &network{run: run, stop: func() {}, done: make(chan struct{})}
	// The calling thread sees other files than the host's.
	opened := make(chan error, 1)
	go func() { opened <- n.open(ns) }()
	return n, <-opened
}

func (n *network) open(ns *os.File) error {
	net := n.run.Sandbox.Network
	if net.Pool != nil {
		if _, err := netns.Connect(context.Background(), *net.Pool, n.run.Nonce, ns); err != nil {
			close(n.done)
			return err
		}
	}
	crash.Point("shim.connected")
	if net.Servers == nil {
		close(n.done)
		return nil
	}
	return n.lead(ns, net.Servers)
}

// lead opens the way to the servers.
func (n *network) lead(ns *os.File, plan *relay.Plan) error {
	var listeners []*net.TCPListener
	err := aside.InNetwork(ns, func() (err error) {
		if err = netns.Loopback(plan.Local...); err == nil {
			listeners, err = relay.Listen(plan.Routes)
		}
		return err
	})
	if err != nil {
		close(n.done)
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	go func() {
		defer close(n.done)
		relay.Serve(ctx, listeners, plan.Routes, relay.Options{Report: n.report})
	}()
	return nil
}

func (n *network) report(err error) {
	if c := n.console.Load(); c != nil {
		c.say("%v", err)
	}
}

// tell lets the task's console know what goes wrong.
func (n *network) tell(c *console) {
	if n != nil {
		n.console.Store(c)
	}
}

// close ends the way to the servers when the sandbox is dead. The rest is the
// kernel's, which takes its time (20 ms), or the sweep's if somebody holds the
// namespace: the end of the task does not wait for it.
func (n *network) close() {
	if n != nil {
		n.stop()
		<-n.done
	}
}
