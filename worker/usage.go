package worker

import (
	"cmp"
	"slices"
	"time"

	"agentctl/runtime"
)

// TaskUsage is what a running task uses.
type TaskUsage struct {
	Task, Name, Worker string
	Since, Time        time.Time
	runtime.Usage
}

// Usages looks at what the running tasks use, by the names of their workers. One that
// can't be told, since it is just ending, is left out.
func (p *Pool) Usages() []TaskUsage {
	type running struct {
		TaskUsage
		proc *runtime.Task
	}
	var all []running
	p.mu.Lock()
	for name, s := range p.workers {
		if s.run == nil {
			continue
		}
		r := s.run
		r.mu.Lock()
		if r.proc != nil {
			all = append(all, running{TaskUsage{Task: r.rec.Task, Name: r.rec.Name, Worker: name, Since: r.rec.Started}, r.proc})
		}
		r.mu.Unlock()
	}
	p.mu.Unlock()
	var out []TaskUsage
	for _, t := range all { // outside of the locks: it reads files of the kernel
		u, err := t.proc.Usage()
		if err != nil {
			continue
		}
		t.Usage, t.Time = u, time.Now()
		out = append(out, t.TaskUsage)
	}
	slices.SortFunc(out, func(a, b TaskUsage) int { return cmp.Compare(a.Worker, b.Worker) })
	return out
}
