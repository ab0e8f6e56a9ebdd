package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"agentctl/clearml"
	"agentctl/internal/crash"
	"agentctl/reconcile"
	"agentctl/spec"
)

// Execution asks for one task to be run now, wherever it waits.
type Execution struct {
	Task string
	// Worker says how; its name, queues and count do not matter.
	Worker spec.WorkerSpec
	// RequireQueue refuses a task that waits in no queue.
	RequireQueue bool
	// Rank is this agent's among those that run the task together, as RankOf finds it.
	Rank int
	// Force takes a task that the server holds to be in progress elsewhere.
	Force bool
	// IgnoreContainer leaves what the task says of its container out of account.
	IgnoreContainer bool
}

// ExecutionGroup begins the names of the workers that run one task each.
const ExecutionGroup = "execute"

// execution is one that was asked for, on its way to the loop that begins it.
type execution struct {
	Execution
	asked context.Context // of the request: nobody waits for begun after its end
	begun chan error      // gets one value: nil once the task is this node's
}

// withdrawn tells that nobody asks for it any more, but for an agent that ends: ctx is the
// agent's.
func (x execution) withdrawn(ctx context.Context) bool {
	return ctx.Err() == nil && x.asked.Err() != nil
}

// Execute begins an execution and returns when the server has given the task to this
// node, or why not. It runs on a worker of its own, which drains from the first moment:
// so it takes no other task, and goes when this one has ended.
func (p *Pool) Execute(ctx context.Context, e Execution) error {
	x := execution{e, ctx, make(chan error, 1)}
	select {
	case p.executions <- x:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case err := <-x.begun:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// execute begins what is asked for, until ctx ends.
func (p *Pool) execute(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case x := <-p.executions:
			r, err := p.engage(x)
			if err != nil {
				x.begun <- err
				continue
			}
			p.runs.Go(func() { r.executed(ctx, x) })
		}
	}
}

// engage makes the worker of an execution.
func (p *Pool) engage(x execution) (*run, error) {
	if !validID.MatchString(x.Task) {
		return nil, fmt.Errorf("%.80q is no id of a task", x.Task)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.node == nil {
		return nil, errors.New("cannot run a task: no spec is in force on this node")
	}
	if p.leaving != nil { // else the task would be taken and left in the same moment
		return nil, errLeaving
	}
	if p.active(x.Task) {
		return nil, fmt.Errorf("the task %s runs on this node already", x.Task)
	}
	s := &slot{spec: executor(p.node, x.Execution), since: time.Now(), draining: true, drained: time.Now()}
	var err error
	if s.gpus, err = p.freeGPUs(x.Worker.GPUs); err != nil {
		return nil, err
	}
	n := p.node.Spec
	s.run = newRun(p, s.spec.Name, &Record{
		Task: x.Task, Server: n.Server, Git: n.Git, ResolveAge: n.Cache.ResolveAge, Worker: s.spec, Slots: s.gpus, Draining: s.drained, Rank: x.Rank,
		Phase: PhaseIntent, Leased: time.Now(),
	})
	p.workers[s.spec.Name] = s
	p.setState(s, reconcile.StateLeasing)
	return s.run, nil
}

// executor is the worker of an execution, by the node's own settings where it has none.
func executor(node *spec.Node, x Execution) spec.Worker {
	one, of := 1, *node
	w := x.Worker
	w.Name, w.Queues, w.Count = ExecutionGroup, []string{ExecutionGroup}, &one
	of.Spec.Workers = []spec.WorkerSpec{w}
	out := spec.Expand(of.Default(spec.Env{Hostname: node.Metadata.Name}))[0]
	out.Name = ExecutionGroup + "/" + x.Task
	if x.Worker.ID == "" {
		out.ID = fmt.Sprintf("%s:%s:%s", node.Metadata.Name, ExecutionGroup, x.Task)
	}
	return out
}

// executed is the life of a task that somebody asked for by its id.
func (r *run) executed(ctx context.Context, x execution) {
	conn, err := r.pool.conn.get(ctx, r.rec.Server)
	if err == nil {
		r.conn = conn
		err = r.seize(ctx, x)
	}
	if err != nil {
		x.begun <- seizeError(x.Task, err)
		r.giveUp(ctx, errNotOurs)
		return
	}
	if err := r.started(ctx); err != nil {
		x.begun <- seizeError(x.Task, err)
		r.refused(ctx, err)
		return
	}
	withdrawn := x.withdrawn(ctx)
	x.begun <- nil
	if withdrawn { // too late to leave the task alone, and nobody is there to stop it
		r.stop(Final{Status: clearml.StatusStopped, Reason: "stopped by agentctl", Message: "whoever asked for it went away"})
	}
	r.execute(ctx)
}

func seizeError(task string, err error) error {
	if errors.Is(err, clearml.ErrTaskGone) {
		return fmt.Errorf("the server has no task %s", task)
	}
	return fmt.Errorf("cannot run the task %s: %w", task, err)
}

// seize takes the task out of its queue, if it is in one: moved to the front and popped
// as any other, it is nobody else's.
func (r *run) seize(ctx context.Context, x execution) (err error) {
	if r.task, err = r.conn.Client.Task(ctx, r.rec.Task); err != nil {
		return err
	}
	if x.Rank > 0 {
		if err := r.awaitFirst(ctx, x.asked); err != nil {
			return err
		}
		return r.intend()
	}
	if x.withdrawn(ctx) {
		return context.Cause(x.asked)
	}
	queue := r.task.Execution.Queue
	switch status := r.task.Status; {
	case status == clearml.StatusQueued && queue != "":
		return r.overtake(ctx, queue)
	case x.RequireQueue:
		return fmt.Errorf("it is %s, and waits in no queue", status)
	case status == clearml.StatusPublished || status == clearml.StatusClosed:
		return fmt.Errorf("it is %s; clone it, and run the copy", status)
	case status == clearml.StatusInProgress && !x.Force:
		return fmt.Errorf("worker %q runs it, as the server has it; stop or reset it first, or use --force if that worker is gone", r.task.LastWorker)
	}
	r.forced = true
	return r.intend()
}

// overtakes bounds how often a task is moved to the front of its queue: others may be
// moved there as well.
const overtakes = 10

func (r *run) overtake(ctx context.Context, queue string) error {
	r.note(func(rec *Record) { rec.Queue, rec.QueueName = queue, queue })
	if err := r.intend(); err != nil {
		return err
	}
	for range overtakes {
		if err := r.conn.Client.MoveToFront(ctx, queue, r.rec.Task); err != nil {
			return err
		}
		switch err := r.pop(ctx); {
		case errors.Is(err, errNotOurs) && r.task.Status == clearml.StatusQueued: // another one was moved
		default:
			return err
		}
	}
	return errors.New("others are moved to the front of its queue all the time")
}

// intend opens the task's journal with the intent.
func (r *run) intend() error {
	if err := r.dirs.create(); err != nil {
		return err
	}
	if err := r.open(); err != nil {
		return err
	}
	r.note(func(rec *Record) { rec.Name, rec.Failures = clip(r.task.Name, 200), failuresOf(r.task.StatusReason) })
	if err := r.enter(PhaseIntent, true); err != nil {
		return err
	}
	crash.Point("execute.intent")
	return nil
}
