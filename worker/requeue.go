package worker

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"agentctl/clearml"
	"agentctl/internal/crash"
	"agentctl/runtime"
	"agentctl/spec"
)

// infrastructureError is a failure of the node, or of what it depends on: the task can
// do nothing about it, and another try may go well.
type infrastructureError struct{ error }

func (e infrastructureError) Unwrap() error { return e.error }

// Infrastructure marks an error as one of the node, not of the task.
func Infrastructure(err error) error {
	if err == nil {
		return nil
	}
	return infrastructureError{err}
}

// ofTheNode tells whether an error says nothing of the task.
func ofTheNode(err error) bool {
	return errors.As(err, new(infrastructureError)) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EMFILE) ||
		errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.EIO)
}

// requeuedAfter begins the status reason of a task that a node failed; the number of
// such failures follows. It is kept with the task, so that all nodes count together.
const requeuedAfter = "requeued after infrastructure failure "

var failuresForm = regexp.MustCompile(`^` + requeuedAfter + `(\d{1,4})\b`)

// failuresOf reads how often nodes failed a task since somebody enqueued it last.
func failuresOf(statusReason string) int {
	m := failuresForm.FindStringSubmatch(statusReason)
	if m == nil {
		return 0
	}
	n, _ := strconv.Atoi(m[1]) // four digits
	return n
}

// nodeFailed is the end of a task that the node failed: as its worker says, that is
// reported, or the task goes back to its queue, so often and no more: a task that
// kills whatever holds it must not go on for ever.
func (r *run) nodeFailed(report Final) Final {
	policy, failures := r.rec.Worker.OnInfrastructureFailure, r.rec.Failures+1
	switch {
	case policy.Policy != spec.InfrastructureRequeue, r.unsure:
		return report
	case failures >= policy.Attempts:
		report.Message = fmt.Sprintf("not requeued, it was started %d times; %s", failures, report.Message)
		return report
	}
	return Final{
		Status: clearml.StatusQueued, Message: report.Message,
		Reason: fmt.Sprintf("%s%d, %d allow no more: %s", requeuedAfter, failures, policy.Attempts, report.Reason),
	}
}

// nodePause is how long a worker whose node could not even start a task leaves the next
// one to others.
const nodePause = 10 * time.Second

// pauseAfter is how long the worker of an ended task takes no other.
func (r *run) pauseAfter() time.Duration {
	if r.neverBegan() {
		return nodePause
	}
	return 0
}

// neverBegan tells whether the task goes back because its node could not start it.
func (r *run) neverBegan() bool {
	lost := r.rec.Exit != nil && r.rec.Exit.Reason == runtime.Lost
	return r.rec.Final != nil && failuresOf(r.rec.Final.Reason) > 0 && !lost
}

// requeue puts the task back into its queue, straight from "in progress", so that nobody
// sees it stopped or failed in between. It may be called again after an answer that was
// lost, by another agent too: what is not this worker's any more stays as it is.
func (r *run) requeue(ctx context.Context, f Final) error {
	task, err := r.conn.Client.Task(ctx, r.rec.Task)
	if errors.Is(err, clearml.ErrTaskGone) {
		return nil
	}
	if err != nil {
		return err
	}
	crash.Point("requeue.looked")
	switch {
	case task.Status == clearml.StatusInProgress && task.StatusMessage == clearml.MessageStopping:
		// An enqueue would wipe the wish of a user.
		return r.conn.Client.Stopped(ctx, r.rec.Task, "task was stopped by tasks.stop", f.Message)
	case task.Status == clearml.StatusInProgress && ranBy(task, r.rec.WorkerID()) && r.mine(clearml.TaskState{Status: task.Status, Started: task.Started}):
		r.note(func(rec *Record) { rec.ServerStarted = task.Started })
		if err := r.save(false); err != nil {
			r.log.Error("requeue not recorded", "error", err)
		}
		if err := r.conn.Client.Requeue(ctx, r.rec.Task, r.rec.Queue, f.Reason, f.Message); err != nil {
			return err
		}
	case task.Status != clearml.StatusQueued || task.StatusReason != f.Reason:
		return nil
	}
	crash.Point("requeue.sent")
	if r.neverBegan() {
		return nil
	}
	// It had its turn already. That it was taken by now, or moved, is as well.
	if err := r.conn.Client.MoveToFront(ctx, r.rec.Queue, r.rec.Task); !clearml.IsRefused(err) {
		return err
	}
	return nil
}

// ranBy tells whether a task in progress may be this worker's, by what whoever started
// it said.
func ranBy(t *clearml.Task, worker string) bool {
	return !strings.HasPrefix(t.StatusMessage, pulledBy) || strings.HasPrefix(t.StatusMessage, pulledBy+worker+" ")
}
