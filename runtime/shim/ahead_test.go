package shim

import (
	"os"
	goruntime "runtime"
	"syscall"
	"testing"

	"agentctl/runtime/internal/packet"
	"agentctl/runtime/internal/record"
)

// waiting is the shim of a sandbox that was made ahead, and its agent's end of the socket.
func waiting(t *testing.T) (*shim, *packet.Conn) {
	t.Helper()
	agent, theirs, err := packet.Pair()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Dup(int(theirs.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	_ = theirs.Close()
	s := &shim{terms: make(chan os.Signal, 1)}
	if s.orders, err = packet.Open(fd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = agent.Close(), s.orders.Close() })
	return s, agent
}

// A task that is stopped right after it was handed over is stopped.
func TestStopAfterTheOrder(t *testing.T) {
	for range 200 {
		s, agent := waiting(t)
		if err := agent.Send(record.Order{Dir: "/run"}); err != nil {
			t.Fatal(err)
		}
		if w, _, err := s.ordered(); err != nil || w.Dir != "/run" {
			t.Fatalf("%+v, %v", w, err)
		}
		s.terms <- syscall.SIGTERM
		for range 100 {
			if len(s.terms) == 0 {
				t.Fatal("the wish to stop went to who waited for the order")
			}
			goruntime.Gosched()
		}
	}
}

// Nobody wants the sandbox any more, or its agent has died.
func TestNoOrder(t *testing.T) {
	s, _ := waiting(t)
	s.terms <- syscall.SIGTERM
	if _, _, err := s.ordered(); err == nil {
		t.Error("an order after a SIGTERM")
	}
	s, agent := waiting(t)
	_ = agent.Close()
	if _, _, err := s.ordered(); err == nil {
		t.Error("an order of an agent that is gone")
	}
}
