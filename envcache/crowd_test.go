package envcache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

var crowdWords = []string{"x", "x==1.0", "x>=1", "x<2", "x~=1.0", "x!=2", "x", "x==1.0", "x>0", "x<=1"}

// crowd has all words of crowdWords asked for at once.
func crowd(ctx context.Context, c *Cache) (leases []*Lease, failed []error) {
	leases, failed = make([]*Lease, len(crowdWords)), make([]error, len(crowdWords))
	var all sync.WaitGroup
	for i, w := range crowdWords {
		all.Go(func() { leases[i], failed[i] = c.Acquire(ctx, quickRequest(w), nil) })
	}
	all.Wait()
	return leases, failed
}

// Every build fails: each who asked is told so after no more than a second try, and
// nobody waits for ever.
func TestACrowdWhoseBuildsFail(t *testing.T) {
	t.Parallel()
	x := newStressed(t)
	c := x.open(t)
	boom := errors.New("boom")
	var begun atomic.Int64
	c.builders[quickManager] = &quickBuilder{
		witness: x.witness, begun: func() { begun.Add(1) }, filled: func(context.Context) error { return boom },
	}
	_, failed := crowd(t.Context(), c)
	for i, err := range failed {
		if !errors.Is(err, boom) {
			t.Errorf("%s: %v", crowdWords[i], err)
		}
	}
	if n := int(begun.Load()); n > 2*len(crowdWords) {
		t.Errorf("%d builds were begun for %d requests", n, len(crowdWords))
	}
	if bad := litter(t, x.state); bad != nil {
		t.Errorf("left over: %q", bad)
	}
}

// The first build fails, as one that ran into its deadline: of the others one builds,
// and all get that.
func TestACrowdAfterAFailure(t *testing.T) {
	t.Parallel()
	x := newStressed(t)
	c := x.open(t)
	var filled, published atomic.Int64
	c.builders[quickManager] = &quickBuilder{witness: x.witness, filled: func(context.Context) error {
		if filled.Add(1) == 1 {
			return errors.New("the first fails")
		}
		published.Add(1)
		return nil
	}}
	leases, failed := crowd(t.Context(), c)
	keys := map[string]bool{}
	told := 0
	for i, l := range leases {
		if failed[i] != nil {
			told++
			continue
		}
		keys[l.Key] = true
		_ = l.Close()
	}
	if told != 1 || len(keys) != 1 || published.Load() != 1 {
		t.Errorf("%d were told of the failure, %d environments, built %d times", told, len(keys), published.Load())
	}
}

// Who waits for another's build stops when its own task is aborted; the build goes on.
func TestAWaiterMayGo(t *testing.T) {
	t.Parallel()
	x := newStressed(t)
	c := x.open(t)
	building, finish := make(chan struct{}), make(chan struct{})
	c.builders[quickManager] = &quickBuilder{witness: x.witness, filled: func(ctx context.Context) error {
		close(building)
		select {
		case <-finish:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}}
	first := make(chan error, 1)
	go func() {
		l, err := c.Acquire(t.Context(), quickRequest("x"), nil)
		if err == nil {
			err = l.Close()
		}
		first <- err
	}()
	<-building
	for _, words := range []string{"x", "x==1.0"} { // who asks for the same, and for the same in other words
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := make(chan error, 1)
		waiting := make(chan struct{}, 100)
		go func() {
			_, err := c.Acquire(ctx, quickRequest(words), func(Progress) { waiting <- struct{}{} })
			gone <- err
		}()
		<-waiting
		aborted := fmt.Errorf("the task of %s was aborted", words)
		cancel(aborted)
		if err := <-gone; !errors.Is(err, aborted) && !strings.Contains(fmt.Sprint(err), "aborted") {
			t.Errorf("%s: err = %v", words, err)
		}
	}
	close(finish)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if bad := litter(t, x.state); bad != nil {
		t.Errorf("left over: %q", bad)
	}
}
