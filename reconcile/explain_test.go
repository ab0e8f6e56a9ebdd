package reconcile

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strings"
	"testing"
	"time"

	"github.com/samber/lo"

	"agentctl/spec"
)

// situation is a node and what is asked of it.
type situation struct {
	what string
	set  func(s *Snapshot)
	ask  func(s *Snapshot) []Finding
	code string
	ok   bool   // nothing is wrong
	says string // part of the message
}

// staffed is a node with one idle worker of the queue q.
func staffed() *Snapshot {
	return &Snapshot{
		Name: "n", Node: &spec.Node{Spec: spec.NodeSpec{Workers: []spec.WorkerSpec{{Name: "w", Queues: []string{"q"}}}}},
		Conditions: []Condition{{Type: SpecAccepted, Status: True}, {Type: Suspended, Status: False}},
		Workers:    []WorkerStatus{{Name: "w/0", State: StateIdle, Spec: spec.Worker{Name: "w/0", Group: "w", Queues: []string{"q"}, Order: spec.OrderPriority}}},
		Server:     ServerStatus{URL: "http://s", Reachable: true},
	}
}

func (s *Snapshot) first() *WorkerStatus { return &s.Workers[0] }

func held(code, message string) func(*Snapshot) {
	return func(s *Snapshot) { s.first().Code, s.first().Message = code, message }
}

func running(f func(*WorkerStatus)) func(*Snapshot) {
	return func(s *Snapshot) {
		w := s.first()
		w.State, w.Task = StateRunning, &TaskStatus{ID: "t1", Phase: "running", Started: noon}
		f(w)
	}
}

var (
	nothing  = func(*Snapshot) {}
	onWorker = func(s *Snapshot) []Finding { return s.Explain("w/0") }
	onQueue  = func(tasks ...string) func(*Snapshot) []Finding {
		return func(s *Snapshot) []Finding {
			return s.ExplainQueue(QueueFacts{Name: "q", ID: "id", Exists: true, Tasks: tasks})
		}
	}
	onTask = func(f TaskFacts) func(*Snapshot) []Finding {
		f.ID = lo.Ternary(f.ID == "", "t1", f.ID)
		return func(s *Snapshot) []Finding { return s.ExplainTask(f) }
	}
)

var situations = []situation{
	{"no spec was ever given", func(s *Snapshot) {
		s.Node, s.Workers = nil, nil
		s.Conditions[0] = Condition{Type: SpecAccepted, Status: Unknown, Message: "no spec has been given yet"}
	}, onWorker, WhyNoSpec, false, "no spec"},
	{"the newest spec is broken", func(s *Snapshot) {
		s.Conditions[0] = Condition{Type: SpecAccepted, Status: False, Message: "node.yaml:5: no"}
	}, onWorker, WhyNotAccepted, false, "node.yaml:5"},
	{"the source is not followed", func(s *Snapshot) {
		s.Conditions[1] = Condition{Type: Suspended, Status: True, Message: "rolled back"}
	}, onQueue(), WhySuspended, false, "rolled back"},
	{"the server does not answer", func(s *Snapshot) { s.Server = ServerStatus{URL: "http://s", Error: "refused"} }, onQueue(), WhyServer, false, "http://s: refused"},
	{"the queue is empty", nothing, onQueue(), WhyEmpty, true, "no task"},
	{"tasks wait", nothing, onQueue("t1", "t2"), WhyPosition, true, "2 tasks in it; the first is t1"},
	{"the queue is not there", nothing, func(s *Snapshot) []Finding { return s.ExplainQueue(QueueFacts{Name: "gone"}) }, HeldByQueue, false, "no queue of that name"},
	{"nobody serves it", nothing, func(s *Snapshot) []Finding { return s.ExplainQueue(QueueFacts{Name: "other", Exists: true}) }, WhyNoWorker, false, "it has w/0 (q)"},
	{"another queue goes first", func(s *Snapshot) { s.first().Spec.Queues = []string{"urgent", "q"} }, onQueue("t1"), WhyBehind, true, "urgent first"},
	{"the worker is free", nothing, onWorker, WhyReady, true, "free"},
	{"it has a task", running(func(*WorkerStatus) {}), onWorker, WhyBusy, true, "task t1"},
	{"it goes", running(func(w *WorkerStatus) { w.Draining = true }), onWorker, WhyDraining, false, "when task t1 has ended"},
	{"it is cordoned", func(s *Snapshot) { s.first().Order = &Order{Reason: "fan"} }, onWorker, WhyCordoned, false, "fan"},
	{"it is drained", func(s *Snapshot) { s.first().Order = &Order{Policy: spec.DrainRequeue} }, onWorker, WhyDrained, false, "uncordon w/0"},
	{"nobody of that name", nothing, func(s *Snapshot) []Finding { return s.Explain("x/0") }, WhyNoSuch, false, "it has w/0"},
	{"the disk is full", held(HeldByDisk, "5 B free"), onWorker, HeldByDisk, false, "5 B"},
	{"a task has its GPU", held(HeldByGPU, "gpu 0"), onWorker, HeldByGPU, true, "gpu 0"},
	{"a stranger has its GPU", held(HeldByOther, "python3"), onWorker, HeldByOther, false, "python3"},
	{"its window is closed", held(HeldByWindow, "outside"), onWorker, HeldByWindow, true, "outside"},
	{"its queue is at its limit", held(HeldByLimit, "2 of 2"), onWorker, HeldByLimit, true, "2 of 2"},
	{"its last task was not to be had", held(HeldByError, "later"), onWorker, HeldByError, false, "later"},
	{"it has had its one task", held(HeldByOnce, "one"), onWorker, HeldByOnce, true, "one"},
	{"an action has no effect", func(s *Snapshot) {
		s.first().Conditions = []Condition{{Type: Stalled, Status: True, Reason: "NoEffect", Message: "had no effect 5 times"}}
	}, onWorker, WhyStalled, false, "5 times"},
	{"it is to be started", func(s *Snapshot) {
		s.Workers, s.Plan.Actions = nil, []Action{{Verb: Start, Worker: "w/0", Reason: "not there yet", Spec: &spec.Worker{Queues: []string{"q"}}}}
	}, onQueue("t1"), WhyPlanned, true, "start: not there yet"},
	{"its GPU is not there", func(s *Snapshot) {
		s.Workers, s.Plan.Actions = nil, []Action{{Verb: Wait, Worker: "w/0", Reason: "needs gpu 7", Stalled: true}}
	}, onQueue("t1"), WhyStalled, false, "needs gpu 7"},
	{"the task runs", running(func(*WorkerStatus) {}), onTask(TaskFacts{}), WhyRuns, true, "on w/0 since"},
	{"it is prepared", running(func(w *WorkerStatus) { w.State, w.Task.Doing = StatePreparing, "building" }), onTask(TaskFacts{}), WhyPreparing, true, "building"},
	{"another builds the same", running(func(w *WorkerStatus) {
		w.State, w.Task.Waiting, w.Task.Doing = StatePreparing, true, "waiting for another"
	}), onTask(TaskFacts{}), WhyLock, true, "waiting for another"},
	{"it is being ended", running(func(w *WorkerStatus) { w.Task.Ending = spec.DrainRequeue }), onTask(TaskFacts{}), WhyEnding, true, "being ended"},
	{"it waits", nothing, onTask(TaskFacts{Exists: true, Status: "queued", Queue: &QueueFacts{Name: "q", Exists: true, Tasks: []string{"t0", "t1"}}}), WhyPosition, true, "number 2 of 2"},
	{"it was popped and never started", nothing, onTask(TaskFacts{Exists: true, Status: "queued"}), WhyLost, false, "in no queue"},
	{"it runs elsewhere", nothing, onTask(TaskFacts{Exists: true, Status: "in_progress", Message: "pulled by x"}), WhyElsewhere, true, "pulled by x"},
	{"it was never enqueued", nothing, onTask(TaskFacts{Exists: true, Status: "created"}), WhyNotQueued, false, "enqueue it"},
	{"it has ended", nothing, onTask(TaskFacts{Exists: true, Status: "failed", Reason: "exit code 3"}), WhyEnded, true, "exit code 3"},
	{"there is no such task", nothing, onTask(TaskFacts{}), WhyNoTask, false, "no task"},
}

// Each state in which something does not run has its code.
func TestExplain(t *testing.T) {
	for _, c := range situations {
		s := staffed()
		c.set(s)
		findings := c.ask(s)
		f, found := lo.Find(findings, func(f Finding) bool { return f.Code == c.code })
		if !found || !strings.Contains(f.Message, c.says) || f.OK != c.ok {
			t.Errorf("%s: want %s %q, got %+v", c.what, c.code, c.says, findings)
		}
	}
}

// A wait for something that ends tells when.
func TestExplainUntil(t *testing.T) {
	s := staffed()
	s.first().Code, s.first().Message, s.first().Until = HeldByWindow, "outside", noon.Add(time.Hour)
	if f := s.Explain("w/0")[0]; !f.Until.Equal(noon.Add(time.Hour)) {
		t.Errorf("until %s", f.Until)
	}
}

// No code is left without a situation.
func TestEveryCodeIsExplained(t *testing.T) {
	codes := lo.SliceToMap(situations, func(c situation) (string, bool) { return c.code, true })
	for _, file := range []string{"explain.go", "types.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			v, ok := n.(*ast.ValueSpec)
			if !ok || len(v.Values) != 1 || !strings.HasPrefix(v.Names[0].Name, "Why") && !strings.HasPrefix(v.Names[0].Name, "HeldBy") {
				return true
			}
			if code := strings.Trim(v.Values[0].(*ast.BasicLit).Value, `"`); !codes[code] {
				t.Errorf("%s has no situation", v.Names[0].Name)
			}
			return true
		})
	}
}
