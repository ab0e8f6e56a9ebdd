package worker

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"agentctl/reconcile"

	"github.com/dustin/go-humanize"
	"golang.org/x/sys/unix"
)

// hold is why a free worker takes no task; the zero hold is nothing.
type hold struct {
	code    string // of package reconcile
	message string
	until   time.Time // when it ends by itself; zero: nobody knows
}

// holds says what holds the worker s whatever is in its queues. The pool's mutex is held.
func (p *Pool) holds(s *slot) hold {
	return cmp.Or(p.ownHold(s, time.Now()), p.diskHold(), p.slotsHold(s))
}

// ownHold is what the worker's own settings and past say.
func (p *Pool) ownHold(s *slot, now time.Time) hold {
	if now.Before(s.notUntil) {
		if s.hold.code == reconcile.HeldByError {
			return s.hold
		}
		return hold{reconcile.HeldByError, "its last task could not be taken", s.notUntil}
	}
	if p.cfg.Once && s.served > 0 {
		return hold{reconcile.HeldByOnce, "has run its one task", time.Time{}}
	}
	if open, change := s.spec.Open(now); !open {
		return hold{reconcile.HeldByWindow, "is outside of its windows", change}
	}
	return hold{}
}

// diskHold says that no worker of the node may take a task now.
func (p *Pool) diskHold() hold {
	floor := int64(p.node.Spec.Cache.MinFree)
	if free := p.free(); floor > 0 && free < floor {
		return hold{code: reconcile.HeldByDisk, message: fmt.Sprintf("%s free on the disk of %s, below cache.minFree %s",
			humanize.IBytes(uint64(free)), p.cfg.State, humanize.IBytes(uint64(floor)))}
	}
	return hold{}
}

// slotsHold says whose task has a GPU that s is to have.
func (p *Pool) slotsHold(s *slot) hold {
	if len(s.gpus) == 0 {
		return hold{}
	}
	gpus := p.gpus()
	for name, other := range p.workers {
		if other == s || other.run == nil {
			continue
		}
		for _, id := range s.gpus {
			if slices.ContainsFunc(other.run.rec.Slots, func(held string) bool { return reconcile.Overlap(id, held, gpus) }) {
				return hold{code: reconcile.HeldByGPU, message: "gpu " + id + " is held by " + name + ", task " + other.run.rec.Task}
			}
		}
	}
	return p.strangersHold(s)
}

// strangersHold says which process of no task uses a GPU that s is to have.
func (p *Pool) strangersHold(s *slot) hold {
	for _, gpu := range p.gpus() {
		if gpu.Stranger == "" {
			continue
		}
		for _, id := range s.gpus {
			if device, _, _ := strings.Cut(id, "/"); gpu.Is(device) {
				return hold{code: reconcile.HeldByOther, message: fmt.Sprintf("gpu %s is used by %s, which is of no task", id, gpu.Stranger)}
			}
		}
	}
	return hold{}
}

// gpus are those that were found; nil if nobody looks.
func (p *Pool) gpus() []reconcile.GPU {
	if p.cfg.GPUs == nil {
		return nil
	}
	return p.cfg.GPUs()
}

// gpusSilent tells that there may be GPUs, of which nobody knows yet.
func (p *Pool) gpusSilent() bool { return p.cfg.GPUState != nil && p.cfg.GPUState().Silent() }

// full tells whether as many tasks of a queue run here as may.
func (p *Pool) full(queue string) bool {
	limit, ok := p.limit(queue)
	return ok && p.running(queue) >= limit
}

func (p *Pool) limit(queue string) (int, bool) {
	for _, l := range p.node.Spec.QueueLimits {
		if l.Name == queue {
			return l.MaxRunning, true
		}
	}
	return 0, false
}

// running counts the tasks of a queue that run here.
func (p *Pool) running(queue string) (n int) {
	for _, s := range p.workers {
		if s.run != nil && s.run.noted().QueueName == queue {
			n++
		}
	}
	return n
}

// limited says that all queues of s are at their limits.
func (p *Pool) limited(s *slot) hold {
	for _, queue := range s.spec.Queues {
		if !p.full(queue) {
			return hold{}
		}
	}
	queue := s.spec.Queues[0]
	limit, _ := p.limit(queue)
	return hold{code: reconcile.HeldByLimit, message: fmt.Sprintf("%d of at most %d tasks of the queue %s run here", p.running(queue), limit, queue)}
}

// freeBytes is what the disk of the state folder has left; very much if it can't be
// told.
func (p *Pool) freeBytes() int64 {
	var fs unix.Statfs_t
	if err := unix.Statfs(p.cfg.State, &fs); err != nil {
		return math.MaxInt64
	}
	return int64(fs.Bavail) * fs.Bsize //nolint:gosec // block counts fit
}
