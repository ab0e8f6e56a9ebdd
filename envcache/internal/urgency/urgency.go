// Package urgency tells work in the background that somebody waits for it.
//
// Whoever makes something in the background, for a task that has not come yet,
// runs at low priority. When the task comes and waits for the same thing, it
// would wait for as long as the low priority takes: the priority is lifted then.
// The package knows who makes and who waits, within one process; how a priority
// is lowered and lifted is not its concern.
package urgency

import (
	"context"
	"errors"
	"slices"
	"sync"
)

// Lift ends the low priority of work in the background.
type Lift struct {
	once sync.Once
	done chan struct{}
}

// Done is closed when somebody waits for the work.
func (l *Lift) Done() <-chan struct{} { return l.done }

// Lifted tells whether Done is closed. Work without a lift is never low.
func (l *Lift) Lifted() bool {
	if l == nil {
		return true
	}
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// Until gives a context that ends when somebody waits. The
// returned function ends it as well, and waits for what it takes.
func (l *Lift) Until(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	var waiting sync.WaitGroup
	waiting.Go(func() {
		select {
		case <-l.done:
			cancel(errLifted)
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		cancel(nil)
		waiting.Wait()
	}
}

var errLifted = errors.New("somebody waits for it")

func (l *Lift) raise() { l.once.Do(func() { close(l.done) }) }

type liftKey struct{}

// Background marks all that is done under the context as work that nobody waits for.
func Background(ctx context.Context) context.Context {
	return context.WithValue(ctx, liftKey{}, &Lift{done: make(chan struct{})})
}

// Of is the lift of work in the background, or nil.
func Of(ctx context.Context) *Lift {
	l, _ := ctx.Value(liftKey{}).(*Lift)
	return l
}

// Board is where those who make and those who wait meet, by the key of what is
// made. The zero value is ready.
type Board struct {
	mu    sync.Mutex
	waits map[string]int
	makes map[string][]*Lift
}

// Enter notes that what has the key is needed until leave is called: in the
// background, or by somebody who waits, who lifts all in the background, also
// what enters later.
func (b *Board) Enter(ctx context.Context, key string) (leave func()) {
	l := Of(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.makes == nil {
		b.waits, b.makes = map[string]int{}, map[string][]*Lift{}
	}
	if l == nil {
		b.waits[key]++
		for _, made := range b.makes[key] {
			made.raise()
		}
		return func() { b.leave(key) }
	}
	if b.waits[key] > 0 {
		l.raise()
	}
	b.makes[key] = append(b.makes[key], l)
	return func() { b.drop(key, l) }
}

func (b *Board) leave(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waits[key]--; b.waits[key] == 0 {
		delete(b.waits, key)
	}
}

func (b *Board) drop(key string, l *Lift) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.makes[key], l)
	if b.makes[key] = slices.Delete(b.makes[key], i, i+1); len(b.makes[key]) == 0 {
		delete(b.makes, key)
	}
}
