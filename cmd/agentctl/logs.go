package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"agentctl/clearml"
	"agentctl/control"
	"agentctl/reconcile"

	"github.com/spf13/cobra"
)

func (a *app) logsCmd() *cobra.Command {
	follow := false
	cmd := &cobra.Command{
		Use: "logs TASK", Short: "Print a task's console",
		Long: `Print the console of a task that runs, or ran, on this node: what it wrote to
stdout and stderr, and what the agent says of it. On a terminal, escape sequences
other than colours are left out: they are a task's, and could do anything to it.
With --follow a task that still
waits in its queue is waited for, and the verb ends with the task. The beginning
of an id is enough for a task that the node knows.`,
		Example: "  agentctl logs 3f2a91c0\n  agentctl logs --follow 3f2a91c0",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := a.client()
			defer c.Close()
			if follow {
				if err := a.awaitTask(cmd.Context(), c, args[0]); err != nil {
					return err
				}
			}
			return a.logs(cmd.Context(), c, &control.LogsRequest{Task: args[0], Follow: follow}, a.screen())
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "go on until the task ends")
	return cmd
}

// absence is how long an agent may be gone, being upgraded, before one who
// follows a console gives up.
const absence = 15 * time.Second

// logs copies a console to w. A task outlives its agent, so that following it
// goes on where it was when the next agent answers; r tells where that is.
func (a *app) logs(ctx context.Context, c *control.Client, r *control.LogsRequest, w io.Writer) error {
	var gone time.Time
	for {
		err := c.Logs(ctx, *r, func(f control.Frame) error {
			gone, r.From = time.Time{}, f.End
			_, err := w.Write(f.Data)
			return err
		})
		away := errors.Is(err, control.ErrCut) || errors.Is(err, control.ErrNoAgent) && r.From > 0
		if !away || !r.Follow || ctx.Err() != nil {
			return err
		}
		if gone.IsZero() {
			gone = time.Now()
			a.say("the agent went away, waiting for it")
		}
		if time.Since(gone) > absence {
			return fmt.Errorf("%w any more; the task goes on: %w", control.ErrNoAgent, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// awaitTask waits until the node has the task. The server is asked what became of
// one that the node does not know, so that a wrong id does not wait for ever.
func (a *app) awaitTask(ctx context.Context, c *control.Client, id string) error {
	said, last := "", time.Time{}
	err := c.Watch(ctx, func(s *reconcile.Snapshot) error {
		if knows(s, id) {
			return errReached
		}
		if time.Since(last) < pollEvery/4 {
			return nil
		}
		now, err := a.whereabouts(ctx, c, s, id)
		if fresh, ferr := c.Status(ctx); ferr == nil && knows(fresh, id) {
			return errReached // it came while the server was asked
		}
		if err != nil {
			return err
		}
		if last = time.Now(); now != said {
			said = now
			a.say("%s", now)
		}
		return nil
	})
	if errors.Is(err, errReached) {
		return nil
	}
	return err
}

func knows(s *reconcile.Snapshot, id string) bool {
	for _, t := range s.Tasks {
		if id != "" && strings.HasPrefix(t.ID, id) {
			return true
		}
	}
	return false
}

// whereabouts tells where a task is that the node does not have; an error is one
// that will not come.
func (a *app) whereabouts(ctx context.Context, c *control.Client, s *reconcile.Snapshot, id string) (string, error) {
	way, err := a.nodeServer(ctx, c, s)
	if err != nil {
		return "", err
	}
	defer way.Client.Close()
	task, err := way.Client.Task(ctx, id)
	switch {
	case errors.Is(err, clearml.ErrTaskGone):
		return "", fmt.Errorf("neither this node nor its server knows a task %.64q", id)
	case err != nil:
		return "", err
	case task.Status == clearml.StatusQueued:
		return "the task waits in its queue", nil
	case task.Status == clearml.StatusInProgress && task.LastWorker != "" && !ours(s, task.LastWorker):
		return "", fmt.Errorf("the task runs elsewhere, on %.100q", task.LastWorker)
	case task.Status == clearml.StatusInProgress:
		return "the task is being started", nil
	}
	return "", fmt.Errorf("the task is %.20s and is not, or no longer, known to this node", task.Status)
}

func ours(s *reconcile.Snapshot, worker string) bool {
	for _, w := range s.Workers {
		if w.Spec.ID == worker {
			return true
		}
	}
	return false
}
