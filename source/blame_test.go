package source

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"agentctl/spec"
)

func change(path, to string) spec.Change { return spec.Change{Path: path, New: to} }

func TestBlame(t *testing.T) {
	history := []Revision{ // newest first
		{Number: 6, Changes: []spec.Change{change("spec.workers (order)", "[b, a]")}},
		{Number: 5, Changes: []spec.Change{change("spec.workers[a].image", "x")}},
		{Number: 4, Changes: []spec.Change{change("spec.workers[ab]", "{name: ab}")}},
		{Number: 3, Changes: []spec.Change{change("spec.workers[a]", "{name: a}")}},
		{Number: 2, Changes: []spec.Change{change("metadata.labels.rack", "r2")}},
	}
	for path, want := range map[string]int64{
		"spec.workers[a].image": 5, "spec.workers[a].count": 3, "spec.workers[ab].count": 4, "spec.workers[a].imageX": 3,
		"spec.workers[a]": 5, "metadata.labels": 2, "spec.server.url": 0, "spec.work": 0,
	} {
		got := int64(0)
		if r := Blame(path, history); r != nil {
			got = r.Number
		}
		if got != want {
			t.Errorf("%s: revision %d, want %d", path, got, want)
		}
	}
	history[1].Partial = true
	if r := Blame("spec.server.url", history); r == nil || r.Number != 5 {
		t.Errorf("behind a record that is not whole: %+v", r)
	}
}

// drawn is a random small spec.
func drawn(t *rapid.T) *spec.Node {
	n := &spec.Node{}
	n.Spec.Server.URL = rapid.SampledFrom([]string{"", "http://a", "http://b"}).Draw(t, "url")
	for _, name := range []string{"a", "ab", "c"} {
		if rapid.Bool().Draw(t, name) {
			n.Spec.Workers = append(n.Spec.Workers, spec.WorkerSpec{
				Name: name, Queues: rapid.SliceOfN(rapid.SampledFrom([]string{"p", "q"}), 1, 2).Draw(t, "queues"),
				Image: rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "image"),
			})
		}
	}
	return n
}

// Blame of a field is the newest revision before which it had another value, or was not
// there.
func TestBlameIsTheLastChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var history []Revision
		values := []map[string]string{{}}
		var last *spec.Node
		for i := range rapid.IntRange(1, 8).Draw(t, "revisions") {
			n := drawn(t)
			history = slices.Insert(history, 0, Revision{Number: int64(i + 1), Changes: spec.Diff(last, n)})
			now := map[string]string{}
			for _, f := range spec.Fields(n) {
				now[f.Path] = f.New
			}
			values, last = append(values, now), n
		}
		newest := len(values) - 1
		for path, value := range values[newest] {
			want := newest
			for values[want-1][path] == value { // no field of Fields is ""
				want--
			}
			got := Blame(path, history)
			kept := rapid.IntRange(0, len(history)).Draw(t, "kept")
			var older []Revision
			for _, r := range slices.Backward(history[kept:]) {
				older = folded(older, r)
			}
			if all := Blame(path, append(slices.Clone(history[:kept]), older...)); all == nil || got == nil || all.Number != got.Number {
				t.Fatalf("%s: with %d kept it is blamed on %s, not on %s", path, kept, fmt.Sprint(all), fmt.Sprint(got))
			}
			if got == nil || got.Number != int64(want) {
				t.Fatalf("%s is %s since revision %d, blamed on %s", path, value, want, fmt.Sprint(got))
			}
		}
	})
}

// What is kept of dropped revisions grows with the fields of the spec alone.
func TestOlderIsBounded(t *testing.T) {
	var older []Revision
	for i := range 1000 {
		older = folded(older, Revision{Number: int64(i), Changes: []spec.Change{
			change(fmt.Sprintf("spec.workers[%d]", i), "x"), {Path: fmt.Sprintf("spec.workers[%d]", i-1), Old: "x"}, change("spec.server.url", "x"),
		}})
	}
	if len(older) != 1 || len(older[0].Changes) != 2 {
		t.Errorf("%d revisions: %+v", len(older), older)
	}
}
