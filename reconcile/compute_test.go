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
func genNode(t *rapid.T) Desired {
	var n spec.Node
	n.Spec.GPUs.Slots = rapid.SampledFrom([]spec.Slots{
		{}, {Mode: spec.SlotsAuto}, {Mode: spec.SlotsList, List: []spec.Slot{{Device: "0"}, {Device: "1"}, {Device: "2", Shares: 4}}},
		{Mode: spec.SlotsList, List: []spec.Slot{{Device: "GPU-a", Shares: 2}, {Device: "1"}, {Device: "2"}}},
	}).Draw(t, "slots")
	for _, group := range []string{"a", "b", "c"} {
		if !rapid.Bool().Draw(t, group) {
			continue
		}
		count := rapid.IntRange(0, 12).Draw(t, "count")
		n.Spec.Workers = append(n.Spec.Workers, spec.WorkerSpec{
			Name: group, Count: &count,
			Queues:     rapid.SliceOfN(rapid.SampledFrom([]string{"q1", "q2"}), 1, 2).Draw(t, "queues"),
			MaxRuntime: rapid.SampledFrom([]spec.Duration{0, spec.Duration(time.Hour)}).Draw(t, "maxRuntime"),
			MaxTasks:   rapid.SampledFrom([]int{0, 3}).Draw(t, "maxTasks"),
			Drain: spec.Drain{
				Policy:   rapid.SampledFrom([]string{spec.DrainFinish, spec.DrainRequeue, spec.DrainStop}).Draw(t, "policy"),
				Deadline: rapid.SampledFrom([]spec.Duration{0, spec.Duration(time.Hour)}).Draw(t, "drain deadline"),
			},
			GPUs: rapid.SampledFrom([]spec.GPURequest{
				{}, {Mode: spec.GPUsCount, Count: 1}, {Mode: spec.GPUsCount, Count: 2}, {Mode: spec.GPUsAll},
				{Mode: spec.GPUsList, Devices: []string{"1"}}, {Mode: spec.GPUsShare, Share: 0.5}, {Mode: spec.GPUsShare, Share: 0.2},
			}).Draw(t, "gpus"),
		})
	}
	return DesiredOf(n.Default(spec.Env{Hostname: "n1"}))
}

var genSlots = rapid.SampledFrom([][]string{nil, {"0"}, {"1"}, {"0", "1"}, {"2/0"}, {"2/1", "2/2"}, {"gone"}, {"GPU-a"}, {"GPU-a/1"}, {"2"}})

// genObserved draws any observation, sensible or not.
func genObserved(t *rapid.T) Observed {
	o := Observed{Workers: map[string]WorkerStatus{}}
	if rapid.Bool().Draw(t, "looked") {
		o.GPUs = []GPU{{Index: 0, UUID: "GPU-a"}, {Index: 1, UUID: "GPU-b", Problem: rapid.SampledFrom([]string{"", "lost"}).Draw(t, "problem")}}
	}
	for _, s := range genNode(t).Workers {
		if rapid.IntRange(0, 3).Draw(t, "there") == 0 {
			continue
		}
		w := WorkerStatus{
			Name: s.Name, Spec: s,
			State:    rapid.SampledFrom([]WorkerState{StateIdle, StateLeasing, StatePreparing, StateRunning, StateStopped, "", "later"}).Draw(t, "state"),
			Draining: rapid.Bool().Draw(t, "draining"), Served: rapid.IntRange(0, 4).Draw(t, "served"),
			Slots: genSlots.Draw(t, "has"),
			Order: rapid.SampledFrom([]*Order{nil, nil, {}, {Policy: spec.DrainRequeue}, {Policy: spec.DrainFinish, Deadline: noon}, {Policy: spec.DrainStop, Force: true}}).Draw(t, "order"),
		}
		if rapid.Bool().Draw(t, "task") {
			w.Task = &TaskStatus{ID: fmt.Sprintf("t%d", rapid.Uint8().Draw(t, "id")), Started: noon.Add(-time.Duration(rapid.Int64Range(-1e12, 1e14).Draw(t, "for")))}
			w.Task.Slots, w.Task.Ending = genSlots.Draw(t, "task has"), rapid.SampledFrom([]string{"", "", spec.DrainRequeue}).Draw(t, "ending")
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
		again := Compute(Desired{slices.Clone(desired.Workers), desired.Slots}, observed, noon)
		if diff := cmp.Diff(plan, again); diff != "" {
			t.Fatalf("the same input, another plan:\n%s", diff)
		}
		wanted := map[string]bool{}
		for _, w := range desired.Workers {
			wanted[w.Name] = true
		}
		grants := newAllocator(desired, observed).allocate(desired.Workers)
		seen := map[string]Verb{}
		last := 0
		for _, a := range plan.Actions {
			if seen[a.Worker] != "" {
				t.Fatalf("two actions for %s", a.Worker)
			}
			seen[a.Worker] = a.Verb
			if a.Reason == "" || rank[a.Verb] < last {
				t.Fatalf("no reason, or out of order: %+v", a)
			}
			last = rank[a.Verb]
			w, there := observed.Workers[a.Worker]
			if bad := unsafe(a, w, there, wanted[a.Worker], grants[a.Worker].lack != ""); bad != "" {
				t.Fatalf("%s: %+v\nof %+v", bad, a, w)
			}
		}
		if !plan.Wake.IsZero() && !plan.Wake.After(noon) {
			t.Fatalf("a wake in the past: %s", plan.Wake)
		}
		checkSlots(t, desired, observed, plan)
		for _, w := range desired.Workers { // nothing is left out
			have, there := observed.Workers[w.Name]
			asWanted := there && have.Spec.Equal(w) && !have.Draining && (have.State != StateStopped || have.busy())
			if seen[w.Name] == "" && !asWanted {
				t.Fatalf("nothing is planned for %s: %+v", w.Name, have)
			}
		}
		for name := range observed.Workers {
			if !wanted[name] && seen[name] == "" {
				t.Fatalf("nothing is planned for %s, which is not wanted", name)
			}
		}
	})
}

// unsafe says what is wrong with an action on a worker.
func unsafe(a Action, w WorkerStatus, there, wanted, lacks bool) string {
	switch a.Verb {
	case Start:
		if there && w.State != StateStopped || w.busy() || !wanted || a.Spec == nil {
			return "a start of what runs or is not wanted"
		}
	case Update:
		if !there || !wanted || a.Spec == nil || a.Spec.Equal(w.Spec) && !w.Draining && slices.Equal(a.Slots, w.Slots) {
			return "an update of what is not there, not wanted, or as it should be"
		}
	case Drain:
		if !w.busy() || wanted && !lacks || w.Draining {
			return "a drain of what is idle or wanted"
		}
	case Wait:
		if wanted && there && w.State != StateStopped && !w.busy() || !wanted && (!w.busy() || !w.Draining) {
			return "a wait for nothing"
		}
	case Requeue, End:
		o := w.Order
		ordered := o != nil && o.Policy != "" && (o.Policy != spec.DrainFinish || !o.Deadline.IsZero())
		byDrain := w.Draining && (!wanted || lacks) && (w.Spec.Drain.Policy != spec.DrainFinish || w.Spec.Drain.Deadline > 0)
		if w.Task == nil || !ordered && !byDrain {
			return "the end of a task that no policy ends"
		}
	case Stop:
		if w.busy() || wanted && !lacks && (a.Verb != Stop || w.Spec.MaxTasks == 0 && w.Served == 0) {
			return "the end of what is busy or wanted"
		}
	case Forget:
		if w.busy() || wanted {
			return "the end of what is busy or wanted"
		}
	default:
		return "an unknown verb"
	}
	return ""
}

// checkSlots: no slot is given twice, and nothing starts on what a task has.
func checkSlots(t *rapid.T, desired Desired, observed Observed, plan Plan) {
	given := map[string]string{}
	planned := map[string]Action{}
	for _, a := range plan.Actions {
		planned[a.Worker] = a
	}
	for _, w := range desired.Workers {
		a, acts := planned[w.Name]
		slots := a.Slots
		if have := observed.Workers[w.Name]; !acts || (a.Verb == Requeue || a.Verb == End) && !have.Draining {
			slots = have.Slots
		}
		for _, id := range slots {
			for had, other := range given {
				if other != w.Name && Overlap(id, had, observed.GPUs) {
					t.Fatalf("slot %s is given to %s and %s to %s", had, other, id, w.Name)
				}
			}
			given[id] = w.Name
		}
	}
	for name, w := range observed.Workers {
		if w.Task == nil {
			continue
		}
		for _, id := range w.Task.Slots {
			for slot, to := range given {
				if a, ok := planned[to]; ok && a.Verb == Start && to != name && Overlap(slot, id, observed.GPUs) {
					t.Fatalf("%s starts on slot %s, while a task of %s has %s", to, slot, name, id)
				}
			}
		}
	}
}

// Whatever the world does in between, it becomes what was wanted last in a few
// steps once tasks end, and then the plan is empty. A worker that is wanted by each
// spec keeps its task.
func TestConverges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		w.slow = rapid.Bool().Draw(t, "slow")
		observed := genObserved(t)
		w.workers, w.gpus = observed.Workers, observed.GPUs
		for name, s := range w.workers { // what a Runner can be in
			if s.State == "" || s.State == "later" || s.Task != nil {
				s.State = StateRunning
			}
			if s.State == StateStopped {
				s.Task = nil
			}
			w.workers[name] = s
		}
		var desired Desired
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
		const steps = 5 // Update or Drain, Stop, Forget, Start of what had stopped, and of what waited for its GPUs
		for range steps {
			for name := range w.Observe().Workers {
				w.end(name)
			}
			w.step(desired, now)
		}
		lacking := map[string]bool{}
		for _, a := range w.plan(desired, now).Actions {
			if !a.Stalled {
				t.Fatalf("not converged after %d steps:\n%s", steps, render(w.plan(desired, now)))
			}
			lacking[a.Worker] = true
		}
		for _, d := range desired.Workers {
			if s := w.workers[d.Name]; !lacking[d.Name] && (!s.Spec.Equal(d) || s.Draining || s.State != StateIdle) {
				t.Fatalf("%s is not as wanted: %+v", d.Name, s)
			}
		}
		for name := range w.workers { // one that lacks something may stay as stopped
			if !slices.ContainsFunc(desired.Workers, func(d spec.Worker) bool { return d.Name == name }) {
				t.Fatalf("%s is not wanted and still there", name)
			}
		}
		if len(w.faults) > 0 {
			t.Fatalf("asked for what must not be: %q", w.faults)
		}
	})
}

func (w *world) plan(desired Desired, now time.Time) Plan {
	return Compute(desired, w.Observe(), now)
}

func (w *world) step(desired Desired, now time.Time) {
	plan := w.plan(desired, now)
	w.Apply(nil, slices.DeleteFunc(plan.Actions, func(a Action) bool { return a.Verb == Wait }))
}

// A name that stands twice in what is desired is one worker.
func TestDoubledNames(t *testing.T) {
	w := workersOf(t, "spec: {workers: [{name: a, queues: [q]}]}\n")
	plan := Compute(Desired{Workers: []spec.Worker{w[0], w[0]}}, Observed{}, noon)
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
					Compute(Desired{Workers: desired}, observed, noon)
				}
			})
		}
	}
}
