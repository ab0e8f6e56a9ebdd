package image

import (
	"fmt"
	"sync"
	"time"

	"github.com/dustin/go-humanize"
)

// Progress is a step of a pull, for who waits for it.
type Progress struct {
	Time  time.Time
	Layer string // digest, if it is about one
	Done  int64  // bytes of the archives of all layers
	Total int64
	Text  string
}

func (p Progress) String() string { return p.Text }

// often is how often the number of bytes is told.
const often = time.Second

// reporter tells how far a pull is. Its methods may be called by several goroutines.
type reporter struct {
	mu          sync.Mutex
	say         func(Progress)
	now         func() time.Time
	start, last time.Time
	done, total int64
}

func newReporter(say func(Progress), now func() time.Time) *reporter {
	if say == nil {
		say = func(Progress) {}
	}
	return &reporter{say: say, now: now, start: now(), last: now()}
}

// text tells a step.
func (r *reporter) text(layer, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.say(Progress{Time: r.now(), Layer: layer, Done: r.done, Total: r.total, Text: fmt.Sprintf(format, args...)})
}

func (r *reporter) expect(total int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total = total
}

// add counts bytes that came, or, if n is negative, that are to come again.
func (r *reporter) add(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done += n
	now := r.now()
	if now.Sub(r.last) < often {
		return
	}
	r.last = now
	r.say(Progress{Time: now, Done: r.done, Total: r.total, Text: fmt.Sprintf("%s of %s, %s",
		humanize.IBytes(uint64(max(r.done, 0))), humanize.IBytes(uint64(r.total)), since(r.start, now))})
}

func since(start, now time.Time) string { return now.Sub(start).Round(100 * time.Millisecond).String() }
