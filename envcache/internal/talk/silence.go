package talk

import (
	"context"
	"fmt"
	"time"
)

// Silence is the cause of a context that ended because a program said nothing
// for too long.
type Silence struct{ For time.Duration }

// Error says how long nothing was heard.
func (s Silence) Error() string { return fmt.Sprintf("no sign of life for %s", s.For) }

// Watch gives a context that ends with a Silence when last does not move for
// longer than silent. The returned function ends the watch and waits for it.
func Watch(ctx context.Context, silent time.Duration, last func() time.Time) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			left := silent - time.Since(last())
			if left <= 0 {
				cancel(Silence{silent})
				return
			}
			timer := time.NewTimer(left)
			select {
			case <-ctx.Done():
				timer.Stop()
				return
			case <-timer.C:
			}
		}
	}()
	return ctx, func() { cancel(nil); <-done }
}
