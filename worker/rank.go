package worker

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"agentctl/clearml"
)

// RankOf is which of the agents that run one task together this one is, by the
// variables that launchers set: 0, the first, if they say nothing.
func RankOf(lookup func(string) (string, bool)) int {
	for _, name := range []string{"RANK", "SLURM_PROCID"} {
		value, ok := lookup(name)
		if !ok {
			continue
		}
		if rank, err := strconv.Atoi(value); err == nil && rank > 0 {
			return rank
		}
		return 0
	}
	return 0
}

// reports tells whether this agent tells the server how the task fares. Of several
// that run one task it is the first: the others send their consoles alone, else one
// that ends early would end the task of all.
func (r *run) reports() bool { return r.rec.Rank == 0 }

// rank is what the console says of the others.
func (r *run) rank() string {
	if r.reports() {
		return ""
	}
	return fmt.Sprintf(" - rank %d", r.rec.Rank)
}

// awaitFirst returns when the first of the agents has begun the task; that may never be,
// so the wait ends with asked too, and with a stop.
func (r *run) awaitFirst(ctx, asked context.Context) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	defer context.AfterFunc(asked, func() { end(context.Cause(asked)) })()
	r.mu.Lock()
	if r.cancel = end; r.final != nil {
		end(errors.New(r.final.Reason))
	}
	r.mu.Unlock()
	for attempt := 0; ; attempt++ {
		switch r.task.Status {
		case clearml.StatusInProgress:
			return nil
		case clearml.StatusQueued, clearml.StatusCreated:
		default:
			return fmt.Errorf("it is %s: the first of the agents that run it together has not begun it", r.task.Status)
		}
		if err := pause(ctx, attempt); err != nil {
			return err
		}
		err := r.insist(ctx, func() (err error) {
			r.task, err = r.conn.Client.Task(ctx, r.rec.Task)
			return err
		})
		if err != nil {
			return err
		}
	}
}
