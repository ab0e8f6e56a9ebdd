package worker

import (
	"strings"
	"sync"
	"testing"
	"time"

	"agentctl/reconcile"
	"agentctl/spec"
)

// What holds a free worker is told by a code and a message, and nothing else holds it.
func TestHolds(t *testing.T) {
	window := func(from time.Time) []spec.Window {
		return []spec.Window{{Cron: from.UTC().Format("4 15") + " * * *", For: spec.Duration(time.Hour), TimeZone: "UTC"}}
	}
	for _, c := range []struct {
		what    string
		set     func(p *Pool, s *slot)
		code    string
		message string
	}{
		{"nothing", func(*Pool, *slot) {}, "", ""},
		{"a window that is open", func(_ *Pool, s *slot) { s.spec.Windows = window(time.Now().Add(-10 * time.Minute)) }, "", ""},
		{"a window that is closed", func(_ *Pool, s *slot) { s.spec.Windows = window(time.Now().Add(10 * time.Minute)) }, reconcile.HeldByWindow, "windows"},
		{"a full disk", func(p *Pool, _ *slot) { p.free = func() int64 { return 5 } }, reconcile.HeldByDisk, "5 B free"},
		{"a GPU of another's task", func(p *Pool, s *slot) {
			s.gpus = []string{"0", "1"}
			p.workers["b/0"].run.rec.Slots = []string{"1"}
		}, reconcile.HeldByGPU, "gpu 1 is held by b/0, task bb"},
		{"a GPU of another's task, by its other name", func(p *Pool, s *slot) {
			s.gpus = []string{"GPU-b"}
			p.workers["b/0"].run.rec.Slots = []string{"1/0"}
			p.cfg.GPUs = func() []reconcile.GPU { return []reconcile.GPU{{Index: 1, UUID: "GPU-b"}} }
		}, reconcile.HeldByGPU, "gpu GPU-b is held by b/0, task bb"},
		{"another share of its GPU", func(p *Pool, s *slot) {
			s.gpus = []string{"1/1"}
			p.workers["b/0"].run.rec.Slots = []string{"1/0"}
		}, "", ""},
		{"a GPU that a stranger uses", func(p *Pool, s *slot) {
			s.gpus = []string{"1/0"}
			p.cfg.GPUs = func() []reconcile.GPU { return []reconcile.GPU{{Index: 1, Stranger: "python3 (4711)"}} }
		}, reconcile.HeldByOther, "gpu 1/0 is used by python3 (4711)"},
		{"a GPU that is free", func(_ *Pool, s *slot) { s.gpus = []string{"0"} }, "", ""},
		{"a back-off", func(_ *Pool, s *slot) { s.notUntil = time.Now().Add(time.Minute) }, reconcile.HeldByError, "could not be taken"},
		{"its one task", func(p *Pool, s *slot) { p.cfg.Once, s.served = true, 1 }, reconcile.HeldByOnce, "one task"},
		{"a queue at its limit", func(p *Pool, _ *slot) { p.node.Spec.QueueLimits = []spec.QueueLimit{{Name: "q", MaxRunning: 1}} }, reconcile.HeldByLimit, "1 of at most 1 tasks of the queue q"},
		{"a queue below its limit", func(p *Pool, _ *slot) { p.node.Spec.QueueLimits = []spec.QueueLimit{{Name: "q", MaxRunning: 2}} }, "", ""},
		{"one of two queues at its limit", func(p *Pool, s *slot) {
			s.spec.Queues = []string{"q", "r"}
			p.node.Spec.QueueLimits = []spec.QueueLimit{{Name: "q", MaxRunning: 1}}
		}, "", ""},
		{"a queue that is not there", func(_ *Pool, s *slot) { s.spec.Queues = []string{"gone"} }, reconcile.HeldByQueue, `no queue "gone"`},
	} {
		p := poolWith(t, t.TempDir(), "a/0", "b/0")
		p.node = &spec.Node{Spec: spec.NodeSpec{Cache: spec.Cache{MinFree: 10}}}
		p.free = func() int64 { return 100 }
		s := p.workers["a/0"]
		s.spec.Queues = []string{"q"}
		p.workers["b/0"].run = newRun(p, "b/0", &Record{Task: "bb", QueueName: "q"})
		c.set(p, s)
		b := newBacklog(spec.Server{})
		b.missing["gone"] = true
		h, _, _ := p.judge(b, s)
		if h.code != c.code || !strings.Contains(h.message, c.message) {
			t.Errorf("%s: %+v", c.what, h)
		}
		if h.code == reconcile.HeldByWindow && time.Until(h.until) > time.Hour {
			t.Errorf("%s: until %s", c.what, h.until)
		}
	}
}

// A queue at its limit is passed over for the next one.
func TestQueueAtItsLimit(t *testing.T) {
	p := poolWith(t, t.TempDir(), "a/0", "b/0")
	p.node = &spec.Node{Spec: spec.NodeSpec{QueueLimits: []spec.QueueLimit{{Name: "q", MaxRunning: 1}}}}
	p.workers["b/0"].run = newRun(p, "b/0", &Record{Task: "bb", QueueName: "q"})
	s := p.workers["a/0"]
	s.spec.Queues = []string{"q", "r"}
	b := newBacklog(spec.Server{})
	b.ids = map[string]string{"q": "1", "r": "2"}
	b.entries = map[string][]string{"1": {"first"}, "2": {"second"}}
	if h, queue, task := p.judge(b, s); queue != "r" || task != "second" {
		t.Errorf("got %s of %s, held by %+v", task, queue, h)
	}
}

// What a task's own goroutine notes is read by others meanwhile; with -race this tells.
func TestNotedMeanwhile(t *testing.T) {
	p := poolWith(t, t.TempDir(), "a/0")
	p.node = &spec.Node{}
	s := p.workers["a/0"]
	s.run, s.state = newRun(p, "a/0", &Record{Task: "aa"}), reconcile.StateLeasing
	var noting sync.WaitGroup
	noting.Go(func() {
		for range 1000 {
			s.run.note(func(rec *Record) { rec.Queue, rec.QueueName, rec.Started = "q1", "q", time.Now() })
		}
	})
	for range 1000 {
		p.beats()
		p.leasing("q1")
		p.running("q")
	}
	noting.Wait()
	if b := p.beats()[""]; b.task != "aa" || b.queue != "q1" || !p.leasing("q1") || p.running("q") != 1 {
		t.Errorf("%+v", b)
	}
}
