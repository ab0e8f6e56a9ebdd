package envcache

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"agentctl/envcache/internal/urgency"
	"agentctl/internal/tree"
)

// held is an Exec whose compiler in the background works until it is ended.
type held struct {
	spy
	once    sync.Once
	reached chan struct{}
}

func newHeld() *held { return &held{spy: spy{Exec: HostExec{}}, reached: make(chan struct{})} }

func (h *held) Run(ctx context.Context, c Cmd) (Exit, error) {
	exit, err := h.spy.Run(ctx, c)
	if c.Nice && slices.Contains(c.Args, compileScript) {
		h.once.Do(func() { close(h.reached) })
		<-ctx.Done()
		return exit, context.Cause(ctx)
	}
	return exit, err
}

// gently is a cache, whose builds in the background stop at the compiler, and a
// request for its first environment.
func gently(t *testing.T) (*Cache, *held, Request) {
	t.Helper()
	x := newIndexServer(t, "", "")
	x.add(wheel("one", "1.0"))
	h := newHeld()
	c := newCache(t, Options{Exec: h})
	return c, h, Request{Python: hostPython(t, SameUser), IndexURL: x.url(), UID: SameUser, GID: SameUser}
}

// What is built in the background is hurried up when a task waits for it, also by
// other words: nobody waits for work that is at low priority.
func TestWhoWaitsHurriesTheBackground(t *testing.T) {
	for name, words := range map[string]string{"the same words": "one", "other words": "one>=1.0"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, h, req := gently(t)
			ahead := make(chan error, 1)
			go func() {
				l, err := c.Acquire(Background(t.Context()), req.with("one"), nil)
				if err == nil {
					err = l.Close()
				}
				ahead <- err
			}()
			<-h.reached
			var s said
			l, err := c.Acquire(t.Context(), req.with(words), s.hear)
			if err != nil {
				t.Fatalf("%v\n%s", err, s.text())
			}
			defer l.Close()
			if err := <-ahead; err != nil || !l.Hit {
				t.Errorf("in the background: %v; the other one's hit is %v", err, l.Hit)
			}
			if err := c.Verify(t.Context(), l); err != nil {
				t.Error(err)
			}
			var compiled []string
			for _, cmd := range h.ran() {
				if i := slices.Index(cmd.Args, compileScript); i > 0 && strings.Contains(cmd.Args[0], l.Key) {
					compiled = append(compiled, cmd.Args[i+1]+map[bool]string{true: " nice"}[cmd.Nice])
				}
			}
			if !slices.Equal(compiled, []string{"1 nice", "0"}) {
				t.Errorf("compiled with %q", compiled)
			}
		})
	}
}

// All that a build in the background runs is at low priority, its tools too, and a
// build that is cancelled leaves nothing.
func TestBackgroundIsLowAndLeavesNothing(t *testing.T) {
	t.Parallel()
	c, h, req := gently(t)
	ctx, cancel := context.WithCancelCause(Background(t.Context()))
	stop := errors.New("the queue changed")
	go func() {
		<-h.reached
		cancel(stop)
	}()
	if _, err := c.Acquire(ctx, req.with("one"), nil); !errors.Is(err, stop) {
		t.Errorf("err = %v", err)
	}
	for _, cmd := range h.ran() {
		if !cmd.Nice {
			t.Errorf("not at low priority: %q", cmd.Args)
		}
	}
	if bad := litter(t, c.state); bad != nil {
		t.Errorf("left over: %v", bad)
	}
}

func TestWhoWaitsForAToolHurriesItUp(t *testing.T) {
	t.Parallel()
	tools := &pipTools{dir: t.TempDir()}
	ctx := Background(t.Context())
	unlock, err := tools.lock(ctx)
	if err != nil {
		t.Fatal(err)
	}
	waits := make(chan error, 1)
	go func() {
		unlock, err := tools.lock(t.Context())
		if err == nil {
			unlock()
		}
		waits <- err
	}()
	<-urgency.Of(ctx).Done()
	unlock()
	if err := <-waits; err != nil {
		t.Error(err)
	}
}

// The background's manifest is everybody's, lifted on the way or not.
func TestHashedGently(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files := map[string]string{"empty": "", "large": strings.Repeat("0123456789", 1<<20)}
	for i := range 20 {
		files[filepath.Join("sub", string(rune('a'+i)))] = strings.Repeat("x", i)
	}
	writeFiles(t, dir, files)
	digests := func(ctx context.Context) map[string]string {
		t.Helper()
		m, err := survey(ctx, dir)
		if err == nil {
			err = m.hash(ctx, dir, func(int) bool { return true })
		}
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]string{}
		for _, it := range m {
			out[it.path] = it.digest
		}
		return out
	}
	want := digests(t.Context())
	if got := digests(Background(t.Context())); !maps.Equal(got, want) || len(got) < len(files) {
		t.Errorf("in the background: %v, want %v", got, want)
	}
	tops, err := tree.OpenFiles(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tops.Close()
	ctx := Background(t.Context())
	var board urgency.Board
	defer board.Enter(ctx, "key")()
	board.Enter(t.Context(), "key")()
	all := []*item{{path: "large"}, {path: "empty"}}
	if left, err := hashGently(ctx, tops, all); err != nil || len(left) != 2 {
		t.Errorf("hashed gently though somebody waits: %v, %v", left, err)
	}
}
