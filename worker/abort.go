package worker

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"time"

	"agentctl/clearml"
	"agentctl/spec"
)

// Keys of a task's runtime by which the SDK tells of an abort callback: code of the
// task that is to run when a user aborts it. They are read here, never written: an edit
// replaces all of the runtime, with what others have just written to it.
const (
	callbackTimeout   = "_abort_callback_timeout"
	callbackPoll      = "_abort_poll_freq"
	callbackCompleted = "_abort_callback_completed"
)

// abort ends a task at the wish of a user, after its own abort callback if it has
// registered one. The SDK in it sees the wish by itself.
func (r *run) abort(final Final) {
	if proc := r.order(final, true); proc != nil {
		hint(r.aborted)
	}
}

// stopAborted stops the process of a task that a user has aborted when its abort callback
// is through or has had its time. It ends with the task.
func (r *run) stopAborted(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // ends with ctx
		select {
		case <-r.proc.Done():
			cancel()
		case <-ctx.Done():
		}
	}()
	select {
	case <-ctx.Done():
		return
	case <-r.aborted:
	}
	r.awaitCallback(ctx)
	if ctx.Err() == nil {
		r.stopProcess(r.proc, r.rec.Stop.Reason)
	}
}

// callbackLook bounds the time that a server may take to tell of a callback: one that
// can't be reached must not keep a task from being stopped.
const callbackLook = 10 * time.Second

// awaitCallback returns when the task has no abort callback, or it is through, or has had
// the time that the task asked for and the worker allows.
func (r *run) awaitCallback(ctx context.Context) {
	wait, done := r.callback(ctx)
	if done || wait <= 0 {
		return
	}
	wait = min(wait, time.Duration(cmp.Or(r.rec.Worker.AbortCallback, spec.DefaultAbortCallback)))
	r.say("aborted: waiting up to %s for the task's abort callback", wait)
	over, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		r.pool.nap(over, r.pool.pollInterval())
		if over.Err() != nil {
			break
		}
		if _, done := r.callback(over); done {
			return
		}
	}
	if ctx.Err() == nil {
		r.say("aborted: the task's abort callback is not through after %s, the task is stopped", wait)
	}
}

// callback reads how long the task's abort callback may take, 0 if it has none, and
// whether it is through. What the server does not tell in time is no callback.
func (r *run) callback(ctx context.Context) (wait time.Duration, done bool) {
	ctx, cancel := context.WithTimeout(ctx, callbackLook)
	defer cancel()
	conn, err := r.pool.conn.get(ctx, r.rec.Server)
	var task *clearml.Task
	if err == nil {
		task, err = conn.Client.Task(ctx, r.rec.Task)
	}
	if err != nil {
		r.log.Warn("abort callback of the task not known", "error", err)
		return 0, clearml.IsRefused(err)
	}
	wait = seconds(task.Runtime[callbackTimeout])
	if wait > 0 { // the SDK looks only so often
		wait += max(0, seconds(task.Runtime[callbackPoll]))
	}
	through := fmt.Sprint(task.Runtime[callbackCompleted])
	return wait, through != "" && through != "0" && through != "<nil>" && through != "false"
}

// seconds reads a number that a server may hold as a text; what is none, or more than
// any wait, is 0.
func seconds(v any) time.Duration {
	s, err := strconv.ParseFloat(fmt.Sprint(v), 64)
	if err != nil || !(s > 0 && s < 1e7) {
		return 0
	}
	return time.Duration(s * float64(time.Second))
}

// cutCallback stops the process of a task whose abort callback is waited for: the
// operator of the node does not want to wait.
func (r *run) cutCallback() {
	r.mu.Lock()
	proc, aborting := r.proc, r.rec.Aborting && !r.left
	r.mu.Unlock()
	if proc != nil && aborting {
		r.stopProcess(proc, "stopped by agentctl")
	}
}
