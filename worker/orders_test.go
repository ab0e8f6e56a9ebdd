package worker

import (
	"log/slog"
	"testing"

	"github.com/google/go-cmp/cmp"

	"agentctl/internal/fsx"
	"agentctl/reconcile"
	"agentctl/spec"
)

// poolWith is a pool of idle workers, as an agent has it after its start.
func poolWith(t *testing.T, state string, names ...string) *Pool {
	t.Helper()
	p := NewPool(Config{State: state, Log: slog.New(slog.DiscardHandler)})
	if err := p.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		p.workers[name] = &slot{spec: spec.Worker{Name: name}, state: reconcile.StateIdle}
	}
	return p
}

// orderedBy are the reasons of the orders that hold, by worker.
func orderedBy(p *Pool) map[string]string {
	out := map[string]string{}
	for name, w := range p.Observe().Workers {
		if w.Order != nil {
			out[name] = w.Order.Reason
		}
	}
	return out
}

func TestOrders(t *testing.T) {
	state := t.TempDir()
	p := poolWith(t, state, "a/0", "a/1", "b/0")
	order := func(why string) *reconcile.Order {
		return &reconcile.Order{Policy: spec.DrainRequeue, Reason: why}
	}
	for _, step := range []struct {
		what   string
		worker string
		order  *reconcile.Order
		want   map[string]string
	}{
		{"one worker", "a/0", order("disk"), map[string]string{"a/0": "disk"}},
		{"a newer word", "a/0", order("fan"), map[string]string{"a/0": "fan"}},
		{"the node, which replaces it", "", order("kernel"), map[string]string{"a/0": "kernel", "a/1": "kernel", "b/0": "kernel"}},
		{"one of the node is back", "b/0", nil, map[string]string{"a/0": "kernel", "a/1": "kernel"}},
		{"one by one again", "a/1", nil, map[string]string{"a/0": "kernel"}},
		{"all are back", "", nil, map[string]string{}},
		{"the node again", "", order("psu"), map[string]string{"a/0": "psu", "a/1": "psu", "b/0": "psu"}},
	} {
		if err := p.Order(step.worker, step.order); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(step.want, orderedBy(p)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", step.what, diff)
		}
		next := poolWith(t, state, "a/0", "a/1", "b/0") // a restart forgets nothing
		if diff := cmp.Diff(step.want, orderedBy(next)); diff != "" {
			t.Errorf("%s, after a restart (-want +got):\n%s", step.what, diff)
		}
	}
	if got := poolWith(t, state, "new/0").Observe().Workers["new/0"].Order; got == nil || got.Policy != spec.DrainRequeue {
		t.Errorf("a worker of the future has the order %+v", got)
	}
	if err := p.Order("gone/0", order("x")); err == nil {
		t.Error("an order to nobody is taken")
	}
}

// An order until the next boot ends with it, and not with a restart of the agent.
func TestOrderUntilReboot(t *testing.T) {
	state := t.TempDir()
	p := poolWith(t, state, "a/0")
	if err := p.Order("", &reconcile.Order{UntilReboot: true, Reason: "kernel"}); err != nil {
		t.Fatal(err)
	}
	if got := orderedBy(poolWith(t, state, "a/0")); got["a/0"] != "kernel" {
		t.Errorf("a restart of the agent leaves %v", got)
	}
	var o orders
	if err := fsx.ReadJSON(p.ordersFile(), &o); err != nil || o.Boot == "" {
		t.Fatalf("%+v, %v", o, err)
	}
	o.Boot = "another"
	if err := fsx.WriteJSON(p.ordersFile(), o, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := orderedBy(poolWith(t, state, "a/0")); len(got) > 0 {
		t.Errorf("after a boot %v is left", got)
	}
}

// What an agent orders at its end is gone with it.
func TestLeave(t *testing.T) {
	state := t.TempDir()
	p := poolWith(t, state, "a/0")
	p.Leave(&reconcile.Order{Reason: "ends"})
	if got := orderedBy(p); got["a/0"] != "ends" {
		t.Errorf("got %v", got)
	}
	if got := orderedBy(poolWith(t, state, "a/0")); len(got) > 0 {
		t.Errorf("the next agent has %v", got)
	}
	p.Leave(nil)
	if got := orderedBy(p); len(got) > 0 {
		t.Errorf("taken back, and %v is left", got)
	}
}
