package shelf

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/samber/lo"
	"pgregory.net/rapid"

	"agentctl/internal/fsx"
)

// Whatever there is and whatever the limits: nothing leased goes, what is dirty
// goes first, then the oldest, no more than the limits want, and for room never all.
func TestCollectionTakesNoMoreThanItMust(t *testing.T) {
	now := time.Unix(2_000_000_000, 0)
	rapid.Check(t, func(t *rapid.T) {
		all := someEntries(t, now)
		lim := Limits{
			MaxEntries: rapid.IntRange(0, 12).Draw(t, "most entries"), MaxBytes: rapid.Int64Range(0, 600).Draw(t, "most bytes"),
			MinFree: rapid.Int64Range(0, 600).Draw(t, "free"), MaxAge: time.Duration(rapid.IntRange(0, 100).Draw(t, "age")) * time.Hour,
		}
		free := rapid.Int64Range(0, 600).Draw(t, "free at first")
		leasedSince := rapid.Map(rapid.SliceOf(rapid.IntRange(1, len(all)+1)), func(ns []int) map[string]bool {
			return lo.SliceToMap(ns, func(n int) (string, bool) { return key(n), true })
		}).Draw(t, "leased in between")
		c := collection[note]{limits: lim, now: now, free: func() int64 { return free }}
		gone := map[string]bool{}
		state := func() (entries int, bytes int64) {
			for _, e := range all {
				if !gone[e.Key] && !e.Dirty {
					entries, bytes = entries+1, bytes+e.Bytes
				}
			}
			return entries, bytes
		}
		fits := func(e Entry[note]) bool { // nothing wants this one, the oldest, to go
			entries, bytes := state()
			return (lim.MaxEntries == 0 || entries <= lim.MaxEntries) && (lim.MaxBytes == 0 || bytes <= lim.MaxBytes) &&
				(lim.MinFree == 0 || free >= lim.MinFree) && (lim.MaxAge == 0 || now.Sub(e.Used) <= lim.MaxAge)
		}
		byKey := lo.KeyBy(all, func(e Entry[note]) string { return e.Key })
		c.remove = func(k string) error {
			e := byKey[k]
			switch {
			case e.InUse:
				t.Fatalf("%s is in use", k)
			case leasedSince[k]:
				return fsx.ErrLocked
			case !e.Dirty && fits(e):
				t.Fatalf("%s goes though all limits are kept", k)
			}
			gone[k] = true
			free += e.Bytes
			return nil
		}
		if err := c.run(t.Context(), turns(slices.Clone(all))); err != nil {
			t.Fatal(err)
		}
		entries, bytes := state()
		if c.result.Kept != len(all)-len(gone) || c.result.Freed != lo.SumBy(c.result.Removed, func(k string) int64 { return byKey[k].Bytes }) || c.bytes != bytes {
			t.Fatalf("%+v of %d entries with %d bytes", c.result, entries, bytes)
		}
		checkOrder(t, all, gone, leasedSince)
		newest, _ := lo.Find(all, func(e Entry[note]) bool { return !e.Dirty })
		for _, e := range all {
			stays := e.InUse || leasedSince[e.Key] || gone[e.Key] || fits(e)
			forRoom := e.Key == newest.Key && (lim.MaxEntries == 0 || entries <= lim.MaxEntries) && (lim.MaxAge == 0 || now.Sub(e.Used) <= lim.MaxAge)
			if !stays && !forRoom || e.Dirty && !e.InUse && !leasedSince[e.Key] && !gone[e.Key] {
				t.Fatalf("%+v is still there", e)
			}
		}
	})
}

// checkOrder checks that nothing went while something older could have gone.
func checkOrder(t *rapid.T, lastUsedFirst []Entry[note], gone, leased map[string]bool) {
	younger := ""
	for _, e := range lastUsedFirst {
		switch {
		case e.Dirty || e.InUse || leased[e.Key]:
		case gone[e.Key]:
			younger = e.Key
		case younger != "":
			t.Fatalf("%s went, and %s is older", younger, e.Key)
		}
	}
}

// someEntries are entries as Entries lists them, the last used first.
func someEntries(t *rapid.T, now time.Time) []Entry[note] {
	n := rapid.IntRange(0, 10).Draw(t, "entries")
	all := make([]Entry[note], n)
	for i := range all {
		label := fmt.Sprintf("entry %d ", i+1)
		all[i] = Entry[note]{
			Key: key(i + 1), Bytes: rapid.Int64Range(0, 200).Draw(t, label+"bytes"),
			Used:  now.Add(-time.Duration(rapid.IntRange(0, 100).Draw(t, label+"hours")) * time.Hour),
			InUse: rapid.Bool().Draw(t, label+"in use"), Dirty: rapid.IntRange(0, 4).Draw(t, label+"dirty") == 0,
			Doubt: rapid.Bool().Draw(t, label+"doubt"),
		}
	}
	slices.SortStableFunc(all, func(a, b Entry[note]) int { return b.Used.Compare(a.Used) })
	return all
}
