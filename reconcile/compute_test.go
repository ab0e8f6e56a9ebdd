package reconcile

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"agentctl/spec"
)

// genNode draws a node with few names and few settings, so that worlds overlap.
func genNode(t *rapid.T) []spec.Worker {
	var n spec.Node
	for _, group := range []string{"a", "b", "c"} {
		if !rapid.Bool().Draw(t, group) {
			continue
		}
		count := rapid.IntRange(0, 12).Draw(t, "count")
		n.Spec.Workers = append(n.Spec.Workers, spec.WorkerSpec{
			Name: group, Count: &count,
			Queues:     rapid.SliceOfN(rapid.SampledFrom([]string{"q1", "q2"}), 1, 2).Draw(t, "queues"),
			MaxRuntime: rapid.SampledFrom([]spec.Duration{0, spec.Duration(time.Hour)}).Draw(t, "maxRuntime"),
		})
	}
	return spec.Expand(n.Default(spec.Env{Hostname: "n1"}))
}

// genObserved draws any observation, sensible or not.
func genObserved(t *rapid.T) Observed {
	o := Observed{Workers: map[string]WorkerStatus{}}
	for _, s := range genNode(t) {
		if rapid.IntRange(0, 3).Draw(t, "there") == 0 {
			continue
		}
		w := WorkerStatus{
			Name: s.Name, Spec: s,
			State:    rapid.SampledFrom([]WorkerState{StateIdle, StateLeasing, StatePreparing, StateRunning, StateStopped, "", "later"}).Draw(t, "state"),
			Draining: rapid.Bool().Draw(t, "draining"), Cordoned: rapid.Bool().Draw(t, "cordoned"),
		}
		if rapid.Bool().Draw(t, "task") {
			w.Task = &TaskStatus{ID: fmt.Sprintf("t%d", rapid.Uint8().Draw(t, "id")), Started: noon.Add(-time.Duration(rapid.Int64Range(-1e12, 1e14).Draw(t, "for")))}
			if rapid.Bool().Draw(t, "ends") {
				w.Task.Deadline = noon.Add(time.Duration(rapid.Int64Range(-1e13, 1e13).Draw(t, "deadline")))
			}
		}
		o.Workers[s.Name] = w
	}
	return o
}

// What a plan must never say, whatever is desired and observed.
func TestPlanIsSafe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		desired, observed := genNode(t), genObserved(t)
		plan := Compute(desired, observed, noon)
		if diff := cmp.Diff(plan, Compute(slices.Clone(desired), observed, noon)); diff != "" {
			t.Fatalf("the same input, another plan:\n%s", diff)
		}
		wanted := map[string]bool{}
		for _, w := range desired {
			wanted[w.Name] = true
		}
		seen := map[string]bool{}
		last := 0
		for _, a := range plan.Actions {
			w, there := observed.Workers[a.Worker]
			if seen[a.Worker] {
				t.Fatalf("two actions for %s", a.Worker)
			}
			seen[a.Worker] = true
			if a.Reason == "" || rank[a.Verb] < last {
				t.Fatalf("no reason, or out of order: %+v", a)
			}
			last = rank[a.Verb]
			bad := ""
			switch a.Verb {
			case Start:
				if there && w.State != StateStopped || w.busy() || !wanted[a.Worker] || a.Spec == nil {
					bad = "a start of what runs or is not wanted"
				}
			case Update:
				if !there || !wanted[a.Worker] || a.Spec == nil || a.Spec.Equal(w.Spec) && !w.Draining {
					bad = "an update of what is not there, not wanted, or as it should be"
				}
			case Drain, Wait:
				if !w.busy() || wanted[a.Worker] || w.Draining != (a.Verb == Wait) {
					bad = "a drain or wait of what is idle or wanted"
				}
			case Stop, Forget:
				if w.busy() || wanted[a.Worker] {
					bad = "the end of what is busy or wanted"
				}
			default:
				bad = "an unknown verb"
			}
			if bad != "" {
				t.Fatalf("%s: %+v", bad, a)
			}
		}
		if !plan.Wake.IsZero() && !plan.Wake.After(noon) {
			t.Fatalf("a wake in the past: %s", plan.Wake)
		}
		for _, w := range desired { // nothing is left out
			have, there := observed.Workers[w.Name]
			asWanted := there && have.State != StateStopped && have.Spec.Equal(w) && !have.Draining
			if !seen[w.Name] && !asWanted && !(there && have.busy() && have.Spec.Equal(w) && !have.Draining) {
				t.Fatalf("nothing is planned for %s: %+v", w.Name, have)
			}
		}
		for name := range observed.Workers {
			if !wanted[name] && !seen[name] {
				t.Fatalf("nothing is planned for %s, which is not wanted", name)
			}
		}
	})
}

// Whatever the world does in between, it becomes what was wanted last in a few
// steps once tasks end, and then the plan is empty. A worker that is wanted by each
// spec keeps its task.
func TestConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		w.slow = rapid.Bool().Draw(t, "slow")
		w.workers = genObserved(t).Workers
		for name, s := range w.workers { // what a Runner can be in
			if s.State == "" || s.State == "later" || s.Task != nil {
				s.State = StateRunning
			}
			if s.State == StateStopped {
				s.Task = nil
			}
			w.workers[name] = s
		}
		var desired []spec.Worker
		now := noon
		for range rapid.IntRange(1, 5).Draw(t, "specs") {
			desired = genNode(t)
			for range rapid.IntRange(0, 3).Draw(t, "steps") {
				w.step(desired, now)
				for name := range w.Observe().Workers {
					switch rapid.IntRange(0, 3).Draw(t, "event "+name) {
					case 0:
						w.begin(name, "t", now)
					case 1:
						w.end(name)
					}
				}
				now = now.Add(time.Minute)
			}
		}
		busy := map[string]bool{}
		for name, s := range w.Observe().Workers {
			busy[name] = s.busy()
		}
		w.step(desired, now)
		for name, was := range busy {
			if s, there := w.Observe().Workers[name]; was && (!there || !s.busy()) {
				t.Fatalf("%s lost its task", name)
			}
		}
		for name := range w.Observe().Workers {
			w.end(name)
		}
		const steps = 4 // Update or Drain, Stop, Forget, and Start of what had stopped
		for range steps {
			w.step(desired, now)
		}
		if plan := w.plan(desired, now); !plan.Converged() {
			t.Fatalf("not converged after %d steps:\n%s", steps, render(plan))
		}
		for _, d := range desired {
			if s := w.workers[d.Name]; !s.Spec.Equal(d) || s.Draining || s.State != StateIdle {
				t.Fatalf("%s is not as wanted: %+v", d.Name, s)
			}
		}
		if len(w.workers) != len(desired) {
			t.Fatalf("%d workers, %d wanted", len(w.workers), len(desired))
		}
		if len(w.faults) > 0 {
			t.Fatalf("asked for what must not be: %q", w.faults)
		}
	})
}

func (w *world) plan(desired []spec.Worker, now time.Time) Plan {
	return Compute(desired, w.Observe(), now)
}

func (w *world) step(desired []spec.Worker, now time.Time) {
	plan := w.plan(desired, now)
	w.Apply(nil, slices.DeleteFunc(plan.Actions, func(a Action) bool { return a.Verb == Wait }))
}

// A name that stands twice in what is desired is one worker.
func TestDoubledNames(t *testing.T) {
	w := workersOf(t, "spec: {workers: [{name: a, queues: [q]}]}\n")
	plan := Compute([]spec.Worker{w[0], w[0]}, Observed{}, noon)
	if len(plan.Actions) != 1 {
		t.Errorf("got:\n%s", render(plan))
	}
}

func TestAge(t *testing.T) {
	for _, c := range []struct {
		for_ time.Duration
		want string
	}{
		{-time.Hour, "0s"}, {0, "0s"}, {1500 * time.Millisecond, "1s"}, {59900 * time.Millisecond, "59s"},
		{time.Minute, "1m"}, {119 * time.Second, "1m"}, {130*time.Minute + 30*time.Second, "2h10m"}, {72 * time.Hour, "3d"},
	} {
		if got := age(noon.Add(-c.for_), noon); got != c.want {
			t.Errorf("%s: got %s, want %s", c.for_, got, c.want)
		}
	}
}

// A thousand workers that are as they should be cost next to nothing.
func BenchmarkCompute(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		desired := workersOf(b, fmt.Sprintf("spec: {workers: [{name: a, queues: [q], count: %d}]}\n", n))
		other := workersOf(b, fmt.Sprintf("spec: {workers: [{name: a, queues: [p, q], count: %d}]}\n", n))
		same, changed := Observed{Workers: map[string]WorkerStatus{}}, Observed{Workers: map[string]WorkerStatus{}}
		for i := range desired {
			same.Workers[desired[i].Name] = WorkerStatus{Name: desired[i].Name, Spec: desired[i], State: StateIdle}
			changed.Workers[other[i].Name] = WorkerStatus{Name: other[i].Name, Spec: other[i], State: StateIdle}
		}
		for name, observed := range map[string]Observed{"same": same, "changed": changed, "none": {}} {
			b.Run(fmt.Sprintf("%s-%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					Compute(desired, observed, noon)
				}
			})
		}
	}
}
