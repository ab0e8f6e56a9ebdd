package control

import (
	"context"
	"os"
	"os/user"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"agentctl/reconcile"
	"agentctl/spec"
)

var oneRevision = Revision{
	Number: 3, Digest: "d", Cause: "apply", By: "me", Source: reconcile.Origin{Kind: "file", Path: "/a"},
	Changes: []spec.Change{{Path: "spec.x", New: "1", Class: spec.ClassLive}}, Plan: []Step{{"start", "a/0", "new"}},
}

func (n *node) History() ([]Revision, error) { return []Revision{oneRevision}, n.failWith }

func (n *node) Revision(number int64) (RevisionText, error) {
	return RevisionText{Revision: Revision{Number: number}, Text: []byte("\xff")}, n.failWith
}

func (n *node) Blame() ([]Blame, error) { return []Blame{{Path: "spec.x", Revision: 3}}, n.failWith }

func (n *node) ordering(ctx context.Context, what string) (reconcile.Result, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stopped = append(n.stopped, what+" by "+Caller(ctx))
	return reconcile.Result{Accepted: true}, n.failWith
}

func (n *node) Suspend(ctx context.Context, message string) (reconcile.Result, error) {
	return n.ordering(ctx, "suspend "+message)
}
func (n *node) Resume(ctx context.Context) (reconcile.Result, error) {
	return n.ordering(ctx, "resume")
}
func (n *node) Confirm(ctx context.Context) (reconcile.Result, error) {
	return n.ordering(ctx, "confirm")
}

func (n *node) Rollback(ctx context.Context, r RollbackRequest) (RollbackReply, error) {
	res, err := n.ordering(ctx, "rollback "+r.Message)
	return RollbackReply{Number: r.Number, Result: res}, err
}

func TestRevisions(t *testing.T) {
	n := newNode()
	c, _ := serve(t, n)
	list, err := c.History(t.Context())
	if diff := cmp.Diff([]Revision{oneRevision}, list); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if r, err := c.Revision(t.Context(), 4); err != nil || r.Revision.Number != 4 || string(r.Text) != "\xff" {
		t.Errorf("%+v, %v", r, err)
	}
	_, err = c.Revision(t.Context(), -1)
	wantCode(t, err, CodeBadRequest)
	if b, err := c.Blame(t.Context()); err != nil || len(b) != 1 || b[0].Revision != 3 {
		t.Errorf("%+v, %v", b, err)
	}
}

// Orders reach the agent with the user that the kernel sees on the other end.
func TestOrdersAboutTheSpec(t *testing.T) {
	n := newNode()
	c, _ := serve(t, n)
	_, err1 := c.Suspend(t.Context(), "why")
	_, err2 := c.Resume(t.Context())
	_, err3 := c.Confirm(t.Context())
	reply, err4 := c.Rollback(t.Context(), RollbackRequest{Number: 5, Message: "bad"})
	for _, err := range []error{err1, err2, err3, err4} {
		if err != nil {
			t.Error(err)
		}
	}
	if reply.Number != 5 || !reply.Result.Accepted {
		t.Errorf("%+v", reply)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"suspend why by ", "resume by ", "confirm by ", "rollback bad by "} {
		if !strings.HasPrefix(n.stopped[i], want+me.Username) {
			t.Errorf("%q, want %q", n.stopped[i], want+me.Username)
		}
	}
	long := strings.Repeat("x", maxReason+1)
	_, err1 = c.Suspend(t.Context(), long)
	_, err2 = c.Rollback(t.Context(), RollbackRequest{Message: long})
	_, err3 = c.Apply(t.Context(), ApplyRequest{Message: long})
	for _, err := range []error{err1, err2, err3} {
		wantCode(t, err, CodeBadRequest)
	}
	if len(n.stopped) != 4 || len(n.applied) != 0 {
		t.Errorf("what was refused reached the agent: %q", n.stopped)
	}
	if got := Caller(t.Context()); got != "" {
		t.Errorf("no request, and the caller is %q, pid %d", got, os.Getpid())
	}
}

func TestSuspensionIsAMetric(t *testing.T) {
	n := newNode()
	m := NewMetrics("test", n)
	if got := gather(t, m); !strings.Contains(got, `agentctl_suspended{reason=""} 0`) {
		t.Error(got)
	}
	s := snapshot()
	s.Suspension = &reconcile.Suspension{Reason: "Trying", Since: time.Now()}
	n.set(s)
	if got := gather(t, m); !strings.Contains(got, `agentctl_suspended{reason="Trying"} 1`) {
		t.Error(got)
	}
}
