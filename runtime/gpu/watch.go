package gpu

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/samber/lo"
)

// How often is looked, where there are GPUs and where there are none, and how long a
// look may take before others are told that the driver does not answer.
const (
	lookEvery     = 15 * time.Second
	lookElsewhere = time.Minute
	patience      = 10 * time.Second
)

// Options are where things are; the zero value is the machine's own.
type Options struct {
	// Lib is NVML; nil is that of the driver.
	Lib nvml.Interface
	// Dev is the folder of device nodes, below /dev; "" is /dev.
	Dev string
	// CDI are folders of specifications of the Container Device Interface, the last one
	// going first; nil are the usual ones.
	CDI []string
	// Libraries lists what the dynamic linker finds, as ldconfig -p; nil runs it.
	Libraries func(context.Context) ([]byte, error)
	Log       *slog.Logger
}

// Watcher knows the GPUs of the machine. Run keeps what it knows up to date; all other
// methods never block.
type Watcher struct {
	opts    Options
	looker  looker // of the goroutine that asks
	sources sources
	state   atomic.Pointer[State]
	first   chan struct{} // closed when the first look is over
	changed chan struct{}
	wake    chan struct{}
}

// NewWatcher makes a Watcher that has not looked yet.
func NewWatcher(o Options) *Watcher {
	if o.Lib == nil {
		o.Lib = nvml.New()
	}
	o.Dev = cmp.Or(o.Dev, "/dev")
	if o.CDI == nil {
		o.CDI = usualCDI
	}
	if o.Libraries == nil {
		o.Libraries = ldconfig
	}
	w := &Watcher{
		opts: o, looker: looker{lib: o.Lib}, sources: sources{opts: o},
		first: make(chan struct{}), changed: make(chan struct{}, 1), wake: make(chan struct{}, 1),
	}
	w.state.Store(&State{Problem: notLooked, dev: o.Dev})
	return w
}

// State is what was found last.
func (w *Watcher) State() State { return *w.state.Load() }

// Changed has a value whenever other GPUs are there, or one has another problem, or the
// driver has answered for the first time.
func (w *Watcher) Changed() <-chan struct{} { return w.changed }

// Wake has the GPUs looked at soon.
func (w *Watcher) Wake() { hint(w.wake) }

// First waits until the GPUs were looked at, or the driver is too long about it.
func (w *Watcher) First(ctx context.Context) {
	select {
	case <-w.first:
	case <-ctx.Done():
	}
}

func hint(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

const notLooked = "nobody has looked yet"

// errSilent is that of a driver that hangs.
var errSilent = errors.New("the driver does not answer; it is asked no more until it does")

// answer is what a look ended with.
type answer struct {
	state State
	err   error
}

// Run looks again and again until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		answers := make(chan answer, 1)
		go func() { answers <- w.ask(ctx) }() // await waits for it, but for a driver that hangs
		w.await(ctx, answers)
		next := lookEvery
		if w.State().GPUs == nil {
			next = lookElsewhere
		}
		t := time.NewTimer(next)
		select {
		case <-ctx.Done():
		case <-w.wake:
		case <-t.C:
		}
		t.Stop()
	}
	return nil
}

// Look looks once, or says that the driver is too long about it.
func Look(ctx context.Context, o Options) State {
	w := NewWatcher(o)
	answers := make(chan answer, 1)
	go func() { answers <- w.ask(ctx) }() // a driver that hangs keeps it; the caller is to end soon
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case a := <-answers:
		w.note(a)
	case <-late.C:
		w.note(answer{State{Time: time.Now()}, errSilent})
	case <-ctx.Done():
	}
	return w.State()
}

// ask looks once. It may take for ever.
func (w *Watcher) ask(ctx context.Context) answer {
	s, err := w.looker.look(time.Now())
	s.dev, s.cdi = w.opts.Dev, w.sources.specifications(s.Driver)
	if err == nil && len(s.GPUs) > 0 {
		s.files = w.sources.libraries(ctx, s.Driver)
	}
	return answer{s, err}
}

// await notes the answer of a look, however long it takes: while one is on its way
// there is no other. A call that never returns can't be ended, and stays behind.
func (w *Watcher) await(ctx context.Context, answers <-chan answer) {
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		select {
		case a := <-answers:
			w.note(a)
			return
		case <-late.C:
			w.note(answer{State{Time: time.Now()}, errSilent})
		case <-ctx.Done():
			end := time.NewTimer(time.Second)
			defer end.Stop()
			select {
			case <-answers:
			case <-end.C:
			}
			return
		}
	}
}

// note makes what was found known. Without an answer what was known before stays.
func (w *Watcher) note(a answer) {
	was := w.State()
	next := a.state
	if a.err != nil {
		next = was
		next.Time, next.Problem, next.cdi = a.state.Time, a.err.Error(), cmp.Or(a.state.cdi, was.cdi)
	} else {
		next.GPUs = remember(was.GPUs, next.GPUs)
	}
	w.state.Store(&next)
	select {
	case <-w.first:
	default:
		close(w.first)
	}
	if next.Problem != was.Problem && !errors.Is(a.err, errNoLibrary) {
		if next.Problem != "" {
			w.opts.Log.Warn("cannot look at the GPUs", "error", next.Problem)
		} else if len(next.GPUs) > 0 {
			w.opts.Log.Info("GPUs found", "count", len(next.GPUs), "driver", next.Driver)
		}
	}
	if !slices.EqualFunc(was.GPUs, next.GPUs, sameGPU) || (was.GPUs == nil) != (next.GPUs == nil) || was.Silent() != next.Silent() {
		hint(w.changed)
	}
}

func sameGPU(a, b GPU) bool {
	a.Figures, b.Figures = Figures{}, Figures{}
	return a == b
}

// remember keeps of a GPU that can't be asked any more what it was, and of one that is
// not shown any more that it is gone.
func remember(was, now []GPU) []GPU {
	for i, g := range now {
		if before, ok := lo.Find(was, func(b GPU) bool { return b.Index == g.Index }); ok && g.UUID == "" {
			before.Problem, before.Figures = g.Problem, Figures{}
			now[i] = before
		}
	}
	for _, g := range was {
		if !slices.ContainsFunc(now, func(n GPU) bool { return n.Index == g.Index || n.UUID == g.UUID }) {
			g.Problem, g.Figures = fmt.Sprintf("it is gone: the driver shows %d", len(now)), Figures{}
			now = append(now, g)
		}
	}
	slices.SortFunc(now, func(a, b GPU) int { return cmp.Compare(a.Index, b.Index) })
	return now
}
