package main

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"agentctl/control"
	"agentctl/reconcile"
	"agentctl/source"
	"agentctl/spec"
)

// unmanned runs no workers.
type unmanned struct{}

func (unmanned) Apply(*spec.Node, []reconcile.Action) {}
func (unmanned) Observe() reconcile.Observed          { return reconcile.Observed{} }
func (unmanned) Changed() <-chan struct{}             { return nil }

// planless is an agent that only takes specs.
func planless(t *testing.T) *agent {
	log := slog.New(slog.DiscardHandler)
	m, err := source.Open(t.TempDir(), source.Options{Host: spec.Host{Name: "here"}, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	ag := &agent{sources: m, log: log}
	ag.loop = reconcile.NewLoop(reconcile.Config{Name: "here", Runner: unmanned{}, Store: specStore{m}, Log: log})
	ag.metrics = control.NewMetrics("test", ag.loop)
	var running sync.WaitGroup
	running.Go(func() { _ = ag.loop.Run(t.Context()) })
	t.Cleanup(running.Wait)
	return ag
}

// A spec that comes in place of contributed workers comes from its order and from its
// follower at once: whoever gave the order is told of the generation that it became, and
// not of one in between.
func TestOrderAndFollowerAtOnce(t *testing.T) {
	ag := planless(t)
	text := func(group string) []byte {
		return []byte("apiVersion: agentctl/v1\nkind: Node\nspec:\n  workers: [{name: " + group + ", queues: [q]}]\n")
	}
	submit := func(u source.Update) reconcile.Result {
		res, err := ag.submitSpec(t.Context(), u)
		if err != nil {
			t.Error(err)
		}
		return res
	}
	for i := range 10 {
		u, err := ag.sources.Pin("-", text(fmt.Sprint("a", i)), false)
		if err != nil {
			t.Fatal(err)
		}
		submit(u)
		w := source.Wanted{Abandoned: abandoned, Contribution: source.Contribution{
			ID: "here:0", Since: time.Now(), Workers: []spec.WorkerSpec{{Name: "daemon", ID: "here:0", Queues: []string{"q"}}},
		}}
		if _, u, err = ag.sources.Contribute(w); err != nil {
			t.Fatal(err)
		}
		submit(u)
		if _, _, err := ag.sources.Withdraw("here:0", "me"); err != nil {
			t.Fatal(err)
		}
		if u, err = ag.sources.Pin("-", text(fmt.Sprint("b", i)), false); err != nil {
			t.Fatal(err)
		}
		follows := u
		follows.Seq++
		var res reconcile.Result
		var both sync.WaitGroup
		both.Go(func() { res = submit(u) })
		both.Go(func() { submit(follows) })
		both.Wait()
		if now := ag.loop.Snapshot().Generation; res.Generation != now {
			t.Fatalf("round %d: the order was told of generation %d, in force is %d", i, res.Generation, now)
		}
	}
}
