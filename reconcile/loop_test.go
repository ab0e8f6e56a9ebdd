package reconcile

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func (b *bench) wantCalls(want ...string) {
	b.t.Helper()
	got := b.world.calls()
	if want == nil {
		want = []string{}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Errorf("actions (-want +got):\n%s", diff)
	}
}

func (b *bench) wantCondition(kind, want string) {
	b.t.Helper()
	if got := b.condition(kind); got != want {
		b.t.Errorf("%s is %q, want %q", kind, got, want)
	}
}

// Before a spec is accepted, whatever an earlier agent left is left alone.
func TestNothingIsStoppedBeforeTheFirstSpec(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.world.change("train/0", func(w *WorkerStatus) {
			*w = WorkerStatus{Name: "train/0", State: StateIdle}
		})
		time.Sleep(time.Hour)
		b.wantCalls()
		b.wantCondition(SpecAccepted, "Unknown NoSpec")
		b.wantCondition(Ready, "False NoSpec")
		b.wantCondition(Suspended, "False NoSource")
		b.submit("no yaml: [")
		b.hand(SpecUpdate{Err: errors.New("disk on fire"), Origin: fileOrigin, Seq: 2})
		b.wantCalls()
		b.wantCondition(SpecAccepted, "False Unreadable")
		b.seq = 2
		if res := b.submit(node()); !res.Accepted {
			t.Errorf("refused: %+v", res)
		}
		b.wantCalls("stop train/0")
	})
}

func TestAcceptAndConverge(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		res := b.submit(trains(2))
		b.wantCalls("start train/0", "start train/1")
		s := b.loop.Snapshot()
		if !res.Accepted || res.Unchanged || res.Generation != 1 || s.Generation != 1 || s.ObservedGeneration != 1 {
			t.Errorf("%+v, generation %d, observed %d", res, s.Generation, s.ObservedGeneration)
		}
		want := Revision{Number: 1, Digest: Digest([]byte(trains(2))), Origin: fileOrigin, Time: s.LastApplied.Time}
		if s.LastApplied != want || s.LastAttempted.Digest != want.Digest || res.Digest != want.Digest {
			t.Errorf("applied %+v, attempted %+v", s.LastApplied, s.LastAttempted)
		}
		b.wantCondition(SpecAccepted, "True Accepted")
		b.wantCondition(Ready, "True Converged")
		b.wantCondition(Reconciling, "")
		b.wantCondition(Stalled, "")
		b.wantCondition(Suspended, "False Following")
		for _, c := range s.Conditions {
			if c.Revision != want.Digest || c.Since.IsZero() {
				t.Errorf("a condition without revision or time: %+v", c)
			}
		}
		if got := b.world.node.Metadata.Name; got != "n1" {
			t.Errorf("the runner got a node without defaults: %q", got)
		}
		if b.store.results[1] != ResultConverged {
			t.Errorf("history: %v", b.store.results)
		}
		if res := b.submit(trains(2)); !res.Accepted || !res.Unchanged || res.Generation != 1 {
			t.Errorf("the same text again: %+v", res)
		}
		res = b.submit(trains(2) + "# a comment\n")
		if res.Unchanged || res.Generation != 2 {
			t.Errorf("another text: %+v", res)
		}
		b.wantCalls()
	})
}

type missing struct{}

func (missing) Error() string  { return "node.yaml is not there" }
func (missing) Reason() string { return "Missing" }

// A source that is broken, empty or gone changes one condition, and nothing else.
func TestBadSpecChangesOnlySpecAccepted(t *testing.T) {
	for _, c := range []struct {
		name    string
		update  SpecUpdate
		reason  string
		message string
	}{
		{"unknown key", SpecUpdate{Text: []byte(node("{name: train, queuse: [default]}"))}, "Invalid", "/etc/agentctl/node.yaml:5:"},
		{"half a file", SpecUpdate{Text: []byte(trains(2)[:40])}, "Invalid", "/etc/agentctl/node.yaml:"},
		{"empty", SpecUpdate{Text: []byte{}}, "Empty", "workers: []"},
		{"blank", SpecUpdate{Text: []byte(" \n\n")}, "Empty", "workers: []"},
		{"no list", SpecUpdate{Text: []byte(head + "spec: {}\n")}, "Invalid", "workers"},
		{"gone", SpecUpdate{Err: missing{}}, "Missing", "node.yaml is not there"},
		{"unreadable", SpecUpdate{Err: errors.New("permission denied")}, "Unreadable", "permission denied"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, nil, func(b *bench) {
				b.submit(trains(2))
				b.wantCalls("start train/0", "start train/1")
				b.world.begin("train/1", "3f2a", time.Now())
				synctest.Wait()
				before := b.loop.Snapshot()
				time.Sleep(time.Minute)
				c.update.Origin, c.update.Seq = fileOrigin, 2
				res := b.hand(c.update)
				time.Sleep(time.Hour)
				b.wantCalls()
				after := b.loop.Snapshot()
				cond, _ := after.Condition(SpecAccepted)
				if cond.Status != False || cond.Reason != c.reason || !strings.Contains(cond.Message, c.message) {
					t.Errorf("SpecAccepted: %+v", cond)
				}
				if res.Accepted || res.Generation != 1 || (res.Error == "") == (res.Problems == nil) {
					t.Errorf("result: %+v", res)
				}
				if after.LastApplied != before.LastApplied || after.LastAttempted == before.LastAttempted || after.Generation != 1 {
					t.Errorf("applied %+v, attempted %+v, generation %d", after.LastApplied, after.LastAttempted, after.Generation)
				}
				if diff := cmp.Diff(before.Workers, after.Workers); diff != "" {
					t.Errorf("workers changed:\n%s", diff)
				}
				b.wantCondition(Ready, "True Converged")
				b.seq = 2
				if res := b.submit(trains(2)); !res.Accepted || !res.Unchanged {
					t.Errorf("the good text back: %+v", res)
				}
				b.wantCondition(SpecAccepted, "True Accepted")
				b.wantCalls()
			})
		})
	}
}

// Whatever comes, only an accepted spec changes what runs.
func TestBadSpecsNeverChangeObserved(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		texts := []string{trains(0), trains(1), trains(3), node(), "", "x", trains(3)[:50], node("{name: train}"), head}
		rapid.Check(struct{ testing.TB }{b.t}, func(rt *rapid.T) { // a bubble has no Deadline
			before := b.world.Observe()
			b.world.calls()
			u := SpecUpdate{Origin: fileOrigin, Seq: b.seq + 1, Text: []byte(rapid.SampledFrom(texts).Draw(rt, "text"))}
			b.seq++
			if rapid.IntRange(0, 5).Draw(rt, "err") == 0 {
				u.Err = missing{}
			}
			b.store.setFull(rapid.IntRange(0, 5).Draw(rt, "full") == 0)
			res := b.hand(u)
			if !res.Accepted {
				if diff := cmp.Diff(before, b.world.Observe()); diff != "" || len(b.world.calls()) > 0 {
					rt.Fatalf("a refused spec changed the workers:\n%s", diff)
				}
			}
			name := rapid.SampledFrom([]string{"train/0", "train/1", "train/2"}).Draw(rt, "worker")
			if _, there := b.world.Observe().Workers[name]; there {
				if rapid.Bool().Draw(rt, "begins") {
					b.world.begin(name, "3f2a", time.Now())
				} else {
					b.world.end(name)
				}
			}
			synctest.Wait()
			b.store.setFull(false)
			b.seq++ // so that a retry in the next round does not count as its effect
			b.hand(SpecUpdate{Err: missing{}, Origin: fileOrigin, Seq: b.seq})
		})
	})
}

// A restart goes on with the last good spec, and takes nothing away before the
// source was read.
func TestRestore(t *testing.T) {
	good := &LastGood{Revision: Revision{Number: 7, Digest: Digest([]byte(trains(1))), Origin: fileOrigin}, Text: []byte(trains(1))}
	leftover := func(b *bench) {
		b.world.change("old/0", func(w *WorkerStatus) {
			*w = WorkerStatus{Name: "old/0", State: StateRunning, Task: &TaskStatus{ID: "3f2a", Started: time.Now()}}
		})
		b.world.change("idle/0", func(w *WorkerStatus) { *w = WorkerStatus{Name: "idle/0", State: StateIdle} })
		synctest.Wait()
	}
	t.Run("source unchanged", func(t *testing.T) {
		inBubble(t, good, func(b *bench) {
			leftover(b)
			time.Sleep(time.Second)
			b.wantCalls() // nothing, before the source was read
			b.wantCondition(SpecAccepted, "True LastGood")
			b.wantCondition(Suspended, "False Following")
			if res := b.submit(trains(1)); !res.Unchanged || res.Generation != 1 {
				t.Errorf("%+v", res)
			}
			b.wantCalls("stop idle/0", "drain old/0", "start train/0")
			if len(b.store.texts) != 0 {
				t.Error("the last good spec was stored again")
			}
			if got := b.loop.Snapshot().LastApplied.Number; got != 7 {
				t.Errorf("revision %d", got)
			}
		})
	})
	t.Run("source changed meanwhile", func(t *testing.T) {
		inBubble(t, good, func(b *bench) {
			leftover(b)
			b.submit(node("{name: old, queues: [q]}", "{name: idle, queues: [q]}"))
			b.wantCalls("update old/0", "update idle/0") // no worker was stopped, none started for the old spec
			if b.store.results[7] != ResultSuperseded {
				t.Errorf("history: %v", b.store.results)
			}
		})
	})
	t.Run("source gone", func(t *testing.T) {
		inBubble(t, good, func(b *bench) {
			leftover(b)
			b.hand(SpecUpdate{Err: missing{}, Origin: fileOrigin, Seq: 1})
			b.wantCalls("stop idle/0", "drain old/0", "start train/0")
			b.wantCondition(SpecAccepted, "False Missing")
			b.wantCondition(Ready, "True Settled")
		})
	})
	t.Run("source does not answer", func(t *testing.T) {
		inBubble(t, good, func(b *bench) {
			leftover(b)
			time.Sleep(patience - time.Millisecond)
			b.wantCalls()
			time.Sleep(2 * time.Millisecond)
			b.wantCalls("start train/0")
			time.Sleep(time.Hour)
			b.wantCalls() // removed only when the source was read
			b.submit(trains(1))
			b.wantCalls("stop idle/0", "drain old/0")
		})
	})
	t.Run("not valid for this release", func(t *testing.T) {
		bad := &LastGood{Revision: good.Revision, Text: []byte("kind: Later\n")}
		inBubble(t, bad, func(b *bench) {
			leftover(b)
			time.Sleep(time.Hour)
			b.wantCalls()
			b.wantCondition(SpecAccepted, "False LastGoodInvalid")
			b.wantCondition(Ready, "False NoSpec")
		})
	})
}

// Removed while busy: drain, wait, stop. The history tells both revisions' ends.
func TestRemovedWhileBusy(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.world.slow = true
		b.submit(trains(3))
		for _, name := range []string{"train/0", "train/2"} {
			b.world.begin(name, "task-of-"+name, time.Now())
		}
		synctest.Wait()
		b.wantCalls("start train/0", "start train/1", "start train/2")
		time.Sleep(130 * time.Minute)

		b.submit(trains(1))
		b.wantCalls("stop train/1", "drain train/2", "forget train/1")
		b.wantCondition(Ready, "True Settled")
		c, _ := b.loop.Snapshot().Condition(Reconciling)
		if want := "wait: train/2 runs task task-of-train/2 for 2h10m; policy finish"; c.Reason != "WaitingForTasks" || c.Message != want {
			t.Errorf("%+v", c)
		}
		if got := b.workerCondition("train/2", Reconciling); got != "True WaitingForTask" {
			t.Errorf("train/2: %s", got)
		}
		if got := b.workerCondition("train/2", Ready); got != "False Draining" {
			t.Errorf("train/2: %s", got)
		}
		if b.store.results[2] != "" {
			t.Errorf("history too early: %v", b.store.results)
		}
		b.world.end("train/2")
		synctest.Wait()
		b.wantCalls("stop train/2", "forget train/2")
		b.wantCondition(Ready, "True Converged")
		b.wantCondition(Reconciling, "")
		if b.store.results[1] != ResultConverged || b.store.results[2] != ResultConverged {
			t.Errorf("history: %v", b.store.results)
		}
	})
}

// A full disk: the old spec stays, the new one is stored when there is room.
func TestSpecThatCannotBeStored(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.submit(trains(1))
		b.wantCalls("start train/0")
		b.store.setFull(true)
		res := b.submit(trains(2))
		if res.Accepted || !strings.Contains(res.Error, "no space left") {
			t.Errorf("%+v", res)
		}
		time.Sleep(time.Hour)
		b.wantCondition(SpecAccepted, "False NotStored")
		b.wantCalls()
		if n := b.log.count("not accepted"); n != 1 {
			t.Errorf("told %d times", n)
		}
		b.store.setFull(false)
		time.Sleep(retryMax)
		synctest.Wait()
		b.wantCalls("start train/1")
		b.wantCondition(SpecAccepted, "True Accepted")

		b.store.setFull(true)
		b.submit(trains(3))
		b.submit(trains(2)) // the older one must not come back
		b.store.setFull(false)
		time.Sleep(time.Hour)
		b.wantCalls()
		if got := len(b.store.texts); got != 2 {
			t.Errorf("%d specs stored", got)
		}
	})
}

// What was overtaken on its way is dropped.
func TestOlderUpdatesAreDropped(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.hand(SpecUpdate{Text: []byte(trains(2)), Origin: fileOrigin, Seq: 5})
		b.wantCalls("start train/0", "start train/1")
		for _, u := range []SpecUpdate{
			{Text: []byte(node()), Origin: fileOrigin, Seq: 4},
			{Text: []byte("x"), Origin: fileOrigin, Seq: 3},
			{Err: missing{}, Origin: fileOrigin, Seq: 2},
			{Text: []byte(trains(2)), Origin: Origin{Kind: "pinned", Path: "-"}, Seq: 1},
		} {
			if res := b.hand(u); !res.Superseded || res.Accepted || res.Generation != 1 {
				t.Errorf("%+v: %+v", u, res)
			}
		}
		// The same text by another way gets the same answer.
		if res := b.hand(SpecUpdate{Text: []byte(trains(2)), Origin: fileOrigin, Seq: 4}); res.Superseded || !res.Accepted {
			t.Errorf("%+v", res)
		}
		b.wantCalls()
		b.wantCondition(SpecAccepted, "True Accepted")
	})
}

// An action without effect is handed over again, more and more rarely, and said.
func TestActionsWithoutEffect(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.world.deaf = true
		start := time.Now()
		b.submit(trains(1))
		for range 800 { // more than a minute
			b.world.hint() // hints alone must not make it insist
			time.Sleep(100 * time.Millisecond)
		}
		var at []time.Duration
		for _, when := range b.world.times() {
			at = append(at, when.Sub(start))
		}
		var want []time.Duration // 0, 0.1 s, 0.3 s, … 51.1 s
		for i := range 10 {
			want = append(want, retryFirst<<i-retryFirst)
		}
		if diff := cmp.Diff(want, at); diff != "" {
			t.Errorf("handed over at (-want +got):\n%s", diff)
		}
		b.wantCondition(Stalled, "True NoEffect")
		b.wantCondition(Ready, "Unknown Reconciling")
		b.wantCondition(Reconciling, "True Applying")
		if n := b.log.count("msg=plan"); n != 1 {
			t.Errorf("the plan was logged %d times", n)
		}
		b.world.calls()
		b.world.mu.Lock()
		b.world.deaf = false
		b.world.mu.Unlock()
		time.Sleep(retryMax)
		b.wantCalls("start train/0")
		b.wantCondition(Stalled, "")
		b.wantCondition(Ready, "True Converged")
	})
}

// A new spec does not wait for the back-off of the old one.
func TestNewSpecEndsBackOff(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.world.deaf = true
		b.submit(trains(1))
		time.Sleep(20 * time.Minute)
		b.world.calls()
		b.submit(trains(1) + "# more\n")
		b.wantCalls("start train/0")
	})
}

// A task that has not ended by its deadline stalls its worker; nobody need hint.
func TestOverdue(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.submit(trains(1))
		b.world.change("train/0", func(w *WorkerStatus) {
			w.State, w.Task = StateRunning, &TaskStatus{ID: "3f2a", Started: time.Now(), Deadline: time.Now().Add(time.Hour)}
		})
		b.submit(node())
		time.Sleep(time.Hour)
		b.wantCondition(Stalled, "")
		time.Sleep(overdue + 2*resync)
		b.wantCondition(Stalled, "True WorkersStalled")
		if got := b.workerCondition("train/0", Stalled); got != "True Overdue" {
			t.Error(got)
		}
	})
}

func TestWorkerConditions(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.submit(trains(1))
		want := func(kind, want string) {
			t.Helper()
			synctest.Wait()
			if got := b.workerCondition("train/0", kind); got != want {
				t.Errorf("%s is %q, want %q", kind, got, want)
			}
		}
		want(Ready, "True Idle")
		since := b.loop.Snapshot().Workers[0].Conditions[0].Since
		time.Sleep(time.Minute)
		b.world.begin("train/0", "3f2a", time.Now())
		want(Ready, "True Busy")
		if got := b.loop.Snapshot().Workers[0].Conditions[0].Since; !got.Equal(since) {
			t.Errorf("Since moved though the status did not change: %s, was %s", got, since)
		}
		b.world.change("train/0", func(w *WorkerStatus) { w.Order = &Order{} })
		want(Ready, "False Cordoned")
		b.world.end("train/0")
		b.world.change("train/0", func(w *WorkerStatus) { w.Order, w.Message = nil, "the disk is full" })
		want(Ready, "False Held")
		want(Stalled, "True Held")
		b.wantCondition(Stalled, "True WorkersStalled")
		b.world.change("train/0", func(w *WorkerStatus) { w.Message = "" })
		want(Stalled, "")
		b.world.mu.Lock()
		b.world.server = ServerStatus{URL: "http://s", Error: "connection refused"}
		b.world.mu.Unlock()
		b.world.hint()
		want(Ready, "False ServerUnreachable")
		b.wantCondition(Ready, "False ServerUnreachable")

		// The worker follows the old spec until the new one has reached it.
		old := b.loop.Snapshot().LastApplied.Digest
		b.world.mu.Lock()
		b.world.deaf = true
		b.world.mu.Unlock()
		b.submit(node("{name: train, queues: [urgent]}"))
		want(Reconciling, "True Updating")
		w := b.loop.Snapshot().Workers[0]
		if c, _ := w.Condition(Ready); c.Revision != old {
			t.Errorf("the worker speaks of %.8s, it follows %.8s", c.Revision, old)
		}
	})
}

func TestPlanIsLoggedOnce(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.submit(trains(1))
		b.world.begin("train/0", "3f2a", time.Now())
		b.submit(node())
		for range 100 {
			time.Sleep(time.Minute)
			b.world.hint()
		}
		if n := b.log.count("verb=wait"); n != 1 {
			t.Errorf("the wait was logged %d times", n)
		}
		if n := b.log.count("verb=drain"); n != 1 {
			t.Errorf("the drain was logged %d times", n)
		}
		b.submit(trains(1000))
		if n := b.log.count("verb=start"); n == 0 || n > maxLogged {
			t.Errorf("%d of 1000 starts were logged", n)
		}
	})
}

func TestWatch(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		ctx, cancel := context.WithCancel(b.t.Context())
		slow, fast := b.loop.Watch(b.t.Context()), b.loop.Watch(ctx)
		if s := <-fast; s.Generation != b.loop.Snapshot().Generation {
			t.Error("the first is not the present one")
		}
		for n := range 10 {
			b.submit(trains(n))
			if s := <-fast; s.Generation != b.loop.Snapshot().Generation {
				t.Errorf("not the newest: generation %d", s.Generation)
			}
		}
		if s := <-slow; s.Generation != 10 {
			t.Errorf("a slow reader got generation %d", s.Generation)
		}
		time.Sleep(time.Hour)
		select {
		case s := <-slow:
			t.Errorf("news though nothing happened: %+v", s)
		default:
		}
		if old := time.Since(b.loop.Snapshot().Time); old > resync {
			t.Errorf("a watchdog would think that the loop hangs: it looked %s ago", old)
		}
		cancel()
		synctest.Wait()
		if _, open := <-fast; open {
			t.Error("open after the end of its context")
		}
		b.stop()
		if _, open := <-slow; open {
			t.Error("open after the end of the loop")
		}
		synctest.Wait()
		if s, open := <-b.loop.Watch(b.t.Context()); !open || s != b.loop.Snapshot() {
			t.Error("no last snapshot after the end of the loop")
		}
		if _, err := b.loop.Submit(b.t.Context(), SpecUpdate{}); !errors.Is(err, ErrStopped) {
			t.Errorf("got %v", err)
		}
	})
}

func TestSubmitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLoop(Config{Name: "n1", Runner: newWorld(), Store: &memory{}}) // nobody runs it
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.Submit(ctx, SpecUpdate{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestPreviewChangesNothing(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		if p := b.loop.Preview("x.yaml", []byte(trains(1))); len(p.Plan.Actions) != 1 || p.Base != "" || len(p.Changes) == 0 {
			t.Errorf("%+v", p)
		}
		b.submit(trains(2))
		b.world.begin("train/1", "3f2a", time.Now())
		synctest.Wait()
		b.wantCalls("start train/0", "start train/1")
		before := b.loop.Snapshot()
		p := b.loop.Preview("x.yaml", []byte(trains(1)))
		if got := render(p.Plan); !strings.HasPrefix(got, "drain train/1: the count of train is 1") {
			t.Errorf("plan:\n%s", got)
		}
		if len(p.Changes) != 1 || p.Changes[0].Path != "spec.workers[train].count" || p.Base != before.LastApplied.Digest {
			t.Errorf("%+v", p)
		}
		p = b.loop.Preview("x.yaml", []byte("kind: x"))
		if p.Problems.Err() == nil || !p.Plan.Converged() || !strings.HasPrefix(p.Problems[0].String(), "x.yaml:1:") {
			t.Errorf("%+v", p)
		}
		b.wantCalls()
		if b.loop.Snapshot() != before {
			t.Error("another snapshot")
		}
	})
}

// Many faults don't fill the status; the result has them all.
func TestManyFaults(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		groups := slices.Repeat([]string{"{nam: x}"}, 30)
		res := b.submit(node(groups...))
		c, _ := b.loop.Snapshot().Condition(SpecAccepted)
		if len(res.Problems) < 30 || strings.Count(c.Message, "\n") != maxTold || !strings.Contains(c.Message, "more") {
			t.Errorf("%d problems, condition:\n%s", len(res.Problems), c.Message)
		}
	})
}
