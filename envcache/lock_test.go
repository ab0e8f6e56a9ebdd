package envcache

import (
	"strings"
	"sync"
	"testing"
)

// Two requests of different words that are resolved to the same packages get
// one environment, and the second one installs nothing.
func TestOtherWordsSameLockSameEnvironment(t *testing.T) {
	t.Parallel()
	c, req := indexed(t, "same", "other")
	first := acquire(t, c, req.with("same>=1", "other"))
	if first.Hit || first.Lock == nil || len(first.Lock.Packages) != 2 || !strings.HasPrefix(first.Lock.Packages[1], "same==1.0 --hash=sha256:") {
		t.Fatalf("%+v, lock %+v", first, first.Lock)
	}
	second := acquire(t, c, req.with("same<2", "other==1.0"))
	if !second.Hit || second.Key != first.Key || !strings.Contains(second.Why, "resolved to the same packages") {
		t.Fatalf("%+v", second)
	}
	third := acquire(t, c, req.with("same<2", "other==1.0"))
	if !third.Hit || third.Key != first.Key || strings.Contains(third.Why, "resolved") {
		t.Fatalf("the resolution was not kept: %+v", third)
	}
}

// A lock is installed as it is, and leads to the environment it came from.
func TestALockIsARequest(t *testing.T) {
	t.Parallel()
	c, req := indexed(t, "locked")
	first := acquire(t, c, req.with("locked"))
	again := req
	again.Lock = first.Lock
	if l := acquire(t, c, again); !l.Hit || l.Key != first.Key {
		t.Fatalf("%+v", l)
	}
	bad := *first.Lock
	bad.Packages = []string{"locked==1.0 --hash=sha256:" + strings.Repeat("0", 64)}
	again.Lock = &bad
	if _, err := c.Acquire(t.Context(), again, nil); err == nil || !strings.Contains(err.Error(), "whose hash was asked for") {
		t.Fatalf("a package of another digest was installed: %v", err)
	}
}

func TestDifferentWordsAtOnceBuildOnce(t *testing.T) {
	t.Parallel()
	c, req := indexed(t, "crowd")
	words := []string{"crowd", "crowd==1.0", "crowd>=1", "crowd<2", "crowd!=3", "crowd~=1.0"}
	leases := make([]*Lease, len(words))
	var all sync.WaitGroup
	for i, w := range words {
		all.Go(func() {
			l, err := c.Acquire(t.Context(), req.with(w), nil)
			if err != nil {
				t.Error(err)
				return
			}
			leases[i] = l
			_ = l.Close()
		})
	}
	all.Wait()
	entries, err := c.Entries()
	if err != nil || len(entries) != 1 {
		t.Fatalf("%d environments, %v", len(entries), err)
	}
	for i, l := range leases {
		if l != nil && l.Key != entries[0].Key {
			t.Errorf("%s: environment %s", words[i], l.Key)
		}
	}
}
