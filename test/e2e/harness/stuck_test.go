package harness

import "testing"

// What a Go program prints at SIGQUIT, shortened to what helps.
func TestGoroutines(t *testing.T) {
	const dump = `SIGQUIT: quit
PC=0x47 m=0 sigcode=0

goroutine 1 gp=0xc0 m=nil [semacquire, 2 minutes]:
sync.runtime_SemacquireWaitGroup(0x5d?, 0x0?)
	runtime/sema.go:114 +0x2e
sync.(*WaitGroup).Wait(0xc000)
	sync/waitgroup.go:206 +0x85
main.(*agent).close(0xc0001)
	agentctl/cmd/agentctl/agent.go:190 +0x1
main.(*app).runAgent.deferwrap1()
	agentctl/cmd/agentctl/agent.go:110 +0x1

goroutine 7 [IO wait]:
internal/poll.runtime_pollWait(0x7f, 0x72)
	runtime/netpoll.go:351 +0x85
net/http.(*persistConn).readLoop(0xc0002)
	net/http/transport.go:2325 +0xca5
created by net/http.(*Transport).dialConn in goroutine 19
	net/http/transport.go:1874 +0x154f

goroutine 9 [select]:
agentctl/worker.(*spares).keep(0xc0003, {0xd1, 0xc4})
	agentctl/worker/spares.go:79 +0x1
created by agentctl/worker.(*Pool).Run in goroutine 1
	agentctl/worker/pool.go:150 +0x1

rax    0xca
`
	const want = `goroutine 1 gp=0xc0 m=nil [semacquire, 2 minutes]: main.(*agent).close < main.(*app).runAgent.deferwrap1
goroutine 9 [select]: agentctl/worker.(*spares).keep < agentctl/worker.(*Pool).Run`
	if got := goroutines(dump); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
