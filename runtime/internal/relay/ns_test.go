package relay

import (
	"context"
	"net"
	"testing"

	"agentctl/runtime/internal/aside"
	"agentctl/runtime/internal/netns"
	"agentctl/runtime/internal/nettest"
)

// The task's network has a loopback device and nothing else; its server is reached
// at each kind of address, and nothing besides.
func TestOutOfANetworkWithoutAnything(t *testing.T) {
	box := nettest.New(t)
	server := serve(t, echo)
	_, port, _ := net.SplitHostPort(server)
	plan, err := New("http://"+server, "http://[2001:db8::7]:443", "https://192.0.2.7", "http://api.example.com:"+port)
	if err != nil {
		t.Fatal(err)
	}
	for i := range plan.Routes {
		plan.Routes[i].Server = server // the test sends no packet anywhere else
	}
	var listeners []*net.TCPListener
	err = aside.InNetwork(box.File, func() (err error) {
		if err := netns.Loopback(plan.Local...); err != nil {
			return err
		}
		listeners, err = Listen(plan.Routes)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { Serve(ctx, listeners, plan.Routes, Options{}); close(done) }()
	defer func() { cancel(); <-done }()
	for _, r := range plan.Routes {
		c, err := box.Dial(r.Listen.String(), 10e9)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ask(c.(*net.TCPConn), []byte("x")); string(got) != "x" || err != nil {
			t.Errorf("%s: %q, %v", r.Listen, got, err)
		}
		_ = c.Close()
	}
	for _, addr := range []string{"127.0.0.1:1", "192.0.2.8:443"} {
		if c, err := box.Dial(addr, 10e9); err == nil {
			_ = c.Close()
			t.Errorf("%s was reached", addr)
		}
	}
}
