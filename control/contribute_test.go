package control

import (
	"context"
	"os"
	"strings"
	"testing"

	"agentctl/spec"
)

func (n *node) Contributions() []Contribution {
	return []Contribution{{ID: "box:0", Workers: []spec.WorkerSpec{{Name: "daemon-0", Queues: []string{"q"}}}, Followed: true}}
}

func (n *node) Contribute(ctx context.Context, r ContributeRequest) (ContributeReply, error) {
	return ContributeReply{Contribution: Contribution{ID: r.ID, Workers: r.Workers, By: Caller(ctx)}, Generation: int64(CallerPID(ctx))}, n.failWith
}

func (n *node) Withdraw(_ context.Context, r WithdrawRequest) (WithdrawReply, error) {
	return WithdrawReply{Groups: []string{r.ID}}, n.failWith
}

// What is contributed reaches the agent as it was sent, with the user and the process
// that the kernel sees on the other end.
func TestContribute(t *testing.T) {
	c, _ := serve(t, newNode())
	group := spec.WorkerSpec{Name: "daemon-gpu0", ID: "box:gpu0", Queues: []string{"q"}, GPUs: spec.GPURequest{Mode: spec.GPUsList, Devices: []string{"0"}}}
	reply, err := c.Contribute(t.Context(), ContributeRequest{ID: "box:gpu0", Workers: []spec.WorkerSpec{group}})
	if err != nil || reply.Generation != int64(os.Getpid()) || reply.Contribution.By == "" || reply.Contribution.Workers[0].GPUs.Devices[0] != "0" {
		t.Errorf("%+v, %v", reply, err)
	}
	for _, bad := range []ContributeRequest{{}, {ID: "x"}, {ID: "x", Workers: []spec.WorkerSpec{group}, Command: strings.Repeat("x", maxCommand+1)}} {
		_, err := c.Contribute(t.Context(), bad)
		wantCode(t, err, CodeBadRequest)
	}
	if list, err := c.Contributions(t.Context()); err != nil || len(list) != 1 || !list[0].Followed {
		t.Errorf("%+v, %v", list, err)
	}
	if gone, err := c.Withdraw(t.Context(), WithdrawRequest{ID: "box:0"}); err != nil || gone.Groups[0] != "box:0" {
		t.Errorf("%+v, %v", gone, err)
	}
}
