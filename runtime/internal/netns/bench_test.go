package netns

import (
	"context"
	"testing"

	"agentctl/runtime/internal/nettest"
)

func BenchmarkConnect(b *testing.B) {
	net := nettest.NewInternet(b)
	p := pool(b, net.Host, "here")
	box := nettest.New(b)
	for b.Loop() {
		connected(b, net.Host, p, "task", box)
		b.StopTimer()
		net.Host.Must(b, func() error { return Remove(context.Background(), p, "task") })
		b.StartTimer()
	}
}
