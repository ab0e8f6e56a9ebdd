package repo

import (
	"context"
	"slices"
	"sync"
	"testing"

	"agentctl/envcache"
)

// heldFetch is an Exec whose fetches in the background last until somebody waits.
type heldFetch struct {
	envcache.Exec
	once    sync.Once
	reached chan struct{}
	mu      sync.Mutex
	loud    [][]string // what ran at the usual priority
}

func (h *heldFetch) Run(ctx context.Context, c envcache.Cmd) (envcache.Exit, error) {
	if !c.Nice {
		h.mu.Lock()
		h.loud = append(h.loud, c.Args)
		h.mu.Unlock()
	}
	if c.Nice && slices.Contains(c.Args, "fetch") {
		h.once.Do(func() { close(h.reached) })
		<-c.Lift
	}
	return h.Exec.Run(ctx, c)
}

// A task that waits for a mirror hurries up the fetch that holds it.
func TestWhoWaitsHurriesTheFetch(t *testing.T) {
	t.Parallel()
	u := newUpstream(t, map[string]string{"f": "one"})
	h := &heldFetch{Exec: envcache.HostExec{}, reached: make(chan struct{})}
	s := newStore(t, Options{Exec: h})
	src := u.source()
	src.Branch = "main"
	ahead := make(chan error, 1)
	go func() {
		c, err := s.Acquire(envcache.Background(t.Context()), src, nil)
		if err == nil {
			err = c.Close()
		}
		ahead <- err
	}()
	<-h.reached
	h.mu.Lock()
	if h.loud != nil {
		t.Errorf("in the background, and not at low priority: %q", h.loud)
	}
	h.mu.Unlock()
	if c := acquire(t, s, src); read(t, c, "f") != "one" {
		t.Error("another file")
	}
	if err := <-ahead; err != nil {
		t.Error(err)
	}
}
