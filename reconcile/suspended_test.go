package reconcile

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"agentctl/spec"
)

// suspend hands over what a suspended source says.
func (b *bench) suspend(s *Suspension, text string) Result {
	b.seq++
	return b.hand(SpecUpdate{Text: []byte(text), Origin: fileOrigin, Seq: b.seq, Suspended: s})
}

// What a suspended source has is shown, and changes nothing.
func TestSuspendedSourceOnlyWaits(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.submit(trains(1))
		b.wantCalls("start train/0")
		s := &Suspension{Reason: "Suspended", Message: "benchmark", By: "me", Since: time.Now()}
		b.seq++
		b.hand(SpecUpdate{Unread: true, Origin: fileOrigin, Seq: b.seq, Suspended: s})
		b.wantCondition(Suspended, "True Suspended")
		b.wantCondition(SpecAccepted, "True Accepted")
		b.wantCondition(Ready, "False Suspended")
		if res := b.suspend(s, trains(1)); !res.Accepted || !res.Unchanged {
			t.Errorf("the text in force: %+v", res)
		}
		b.wantCondition(SpecAccepted, "True Accepted")
		for text, want := range map[string]string{
			trains(0):                   "1 change is waiting",
			node("{name: other}"):       "would be refused",
			trains(2) + "spec: {}\n":    "would be refused",
			trains(3) + "# a comment\n": "1 change is waiting",
		} {
			b.suspend(s, text)
			c, _ := b.loop.Snapshot().Condition(Suspended)
			if c.Status != True || !strings.Contains(c.Message, "benchmark") || !strings.Contains(c.Message, want) {
				t.Errorf("Suspended: %+v, want %q", c, want)
			}
			if c, _ := b.loop.Snapshot().Condition(SpecAccepted); c.Status != False {
				t.Errorf("SpecAccepted: %+v", c)
			}
		}
		b.hand(SpecUpdate{Err: missing{}, Origin: fileOrigin, Seq: b.seq, Suspended: s})
		b.wantCondition(SpecAccepted, "False Missing")
		b.wantCalls()
		b.submit(trains(2))
		b.wantCalls("start train/1")
		b.wantCondition(Suspended, "False Following")
		b.wantCondition(Ready, "True Converged")
		if snap := b.loop.Snapshot(); snap.Waiting != nil || snap.Suspension != nil {
			t.Errorf("after resume: %+v, %+v", snap.Waiting, snap.Suspension)
		}
	})
}

// The text that is held comes into force, by whatever update of the source it comes, and
// once.
func TestHeldTextComesIntoForce(t *testing.T) {
	held := &Suspension{
		Reason: "RolledBack", Held: []byte(trains(2)), Revision: Revision{Number: 1, Origin: Origin{Kind: "pinned", Path: "-"}},
	}
	for name, u := range map[string]SpecUpdate{
		"unread":     {Unread: true},
		"another":    {Text: []byte(trains(1))},
		"not there":  {Err: missing{}},
		"not valid":  {Text: []byte("x")},
		"no workers": {Text: []byte(node())},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, nil, func(b *bench) {
				b.submit(trains(1))
				b.wantCalls("start train/0")
				b.store.setFull(true)
				b.seq++
				u.Origin, u.Seq, u.Suspended = fileOrigin, b.seq, held
				if res := b.hand(u); res.Accepted || !strings.Contains(res.Error, "no space") {
					t.Errorf("on a full disk: %+v", res)
				}
				b.wantCondition(SpecAccepted, "False NotStored")
				b.wantCalls()
				b.store.setFull(false)
				time.Sleep(time.Minute)
				synctest.Wait()
				b.wantCalls("start train/1")
				u.Seq++
				b.seq++
				if res := b.hand(u); !res.Accepted || !res.Unchanged || res.Generation != 2 {
					t.Errorf("again: %+v", res)
				}
				s := b.loop.Snapshot()
				if s.LastApplied.Number != 2 || s.LastApplied.Origin.Kind != "pinned" {
					t.Errorf("in force: %+v", s.LastApplied)
				}
				b.wantCondition(Ready, "False Suspended")
				b.wantCondition(Suspended, "True RolledBack")
			})
		})
	}
}

// An agent that starts with a suspended source says so before it has read it, and its
// last good spec holds.
func TestSuspendedFromTheStart(t *testing.T) {
	good := &LastGood{Revision: Revision{Number: 7, Digest: Digest([]byte(trains(1))), Origin: fileOrigin}, Text: []byte(trains(1))}
	inBubble(t, good, func(b *bench) {
		b.stop()
		if err := <-b.ended; err != nil {
			t.Error(err)
		}
		b.loop.cfg.Suspended = &Suspension{Reason: "Suspended"}
		b.loop = NewLoop(b.loop.cfg)
		b.start()
		b.wantCondition(Suspended, "True Suspended")
		b.suspend(b.loop.cfg.Suspended, trains(3))
		b.wantCalls("start train/0")
		b.wantCondition(Ready, "False Suspended")
	})
}

// A spec whose groups all have no workers is not taken from a source, unless it is meant.
func TestEmptiedByMistake(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.submit(trains(0))
		b.wantCondition(SpecAccepted, "True Accepted") // nothing is lost by it
		b.submit(trains(2))
		b.wantCalls("start train/0", "start train/1")
		if res := b.submit(trains(0)); res.Accepted || !strings.Contains(res.Error, "workers: []") {
			t.Errorf("%+v", res)
		}
		b.wantCondition(SpecAccepted, "False NoWorkers")
		b.wantCalls()
		b.seq++
		if res := b.hand(SpecUpdate{Text: []byte(trains(0)), Origin: fileOrigin, Seq: b.seq, AllowEmpty: true}); !res.Accepted {
			t.Errorf("%+v", res)
		}
		b.wantCalls("stop train/0", "stop train/1")
		b.submit(trains(1))
		b.submit(node())
		b.wantCalls("start train/0", "stop train/0")
	})
}

func TestDangers(t *testing.T) {
	decoded := func(text string) *spec.Node {
		n, problems := spec.Decode("node.yaml", []byte(text))
		if n == nil {
			t.Fatal(problems)
		}
		return n.Default(spec.Env{Hostname: "n1"})
	}
	for name, c := range map[string]struct{ from, to, want, allow string }{
		"none":            {trains(2), trains(1), "", ""},
		"no worker left":  {trains(2), trains(0), DangerNoWorkers, AllowEmpty},
		"said so":         {trains(2), node(), DangerNoWorkers, ""},
		"nothing to lose": {trains(0), node(), "", ""},
		"other queues":    {trains(1), node("{name: train, queues: [other]}"), DangerNoQueue, ""},
		"one queue stays": {node("{name: a, queues: [x, y]}"), node("{name: b, queues: [y, z]}"), "", ""},
	} {
		got := Dangers(decoded(c.from), decoded(c.to))
		switch {
		case c.want == "" && len(got) > 0, c.want != "" && (len(got) != 1 || got[0].Code != c.want || got[0].Allow != c.allow):
			t.Errorf("%s: %+v", name, got)
		}
		if got := Dangers(nil, decoded(c.to)); len(got) > 0 {
			t.Errorf("%s, the first spec: %+v", name, got)
		}
	}
}

// What is stored of a spec has its changes and what is to be done for it.
func TestAcceptanceHasThePlan(t *testing.T) {
	inBubble(t, nil, func(b *bench) {
		b.submit(trains(1))
		b.submit(trains(2))
		a := b.store.last
		if len(a.Changes) != 1 || a.Changes[0].Path != "spec.workers[train].count" || len(a.Plan) != 1 || a.Plan[0].Verb != Start {
			t.Errorf("%+v", a)
		}
	})
}
