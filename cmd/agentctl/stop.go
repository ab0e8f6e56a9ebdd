package main

import (
	"context"
	"fmt"
	"time"

	"agentctl/control"
	"agentctl/reconcile"

	"github.com/spf13/cobra"
)

func (a *app) stopCmd() *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "stop TASK…", Short: "Stop tasks that run on this node",
		Long: `Stop tasks that run on this node: each gets SIGTERM, and after its worker's
stopGrace everything that is left of it is killed. Its status becomes "stopped".
The beginning of an id is enough. Exit code 3 if a task has not ended by
--timeout.`,
		Example: "  agentctl stop 3f2a91c0\n  agentctl stop --timeout 0 3f2a91c0    # don't wait for the end",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := a.client()
			defer c.Close()
			var ids []string
			for _, arg := range args {
				id, err := c.StopTask(cmd.Context(), arg)
				if err != nil {
					return err
				}
				ids = append(ids, id)
			}
			gone := func(s *reconcile.Snapshot) string {
				for _, w := range s.Workers {
					for _, id := range ids {
						if taskOf(w).ID == id {
							return "task " + id + " ends on " + w.Name
						}
					}
				}
				return ""
			}
			if err := a.until(cmd.Context(), c, wait, gone); err != nil {
				return err
			}
			for _, id := range ids {
				fmt.Fprintln(a.Stdout, id)
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&wait, "timeout", 5*time.Minute, "longest wait for the end; 0 does not wait")
	return cmd
}

// until waits until what is left to wait for is "", and says what it is. A
// timeout of 0 does not wait.
func (a *app) until(ctx context.Context, c *control.Client, timeout time.Duration, left func(*reconcile.Snapshot) string) error {
	if timeout <= 0 {
		return nil
	}
	deadline, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	said, reached := "", false
	err := c.Watch(deadline, func(s *reconcile.Snapshot) error {
		now := left(s)
		if now == "" {
			reached = true
			return errReached
		}
		if now != said {
			said = now
			a.say("waiting: %s", now)
		}
		return nil
	})
	switch {
	case reached:
		return nil
	case ctx.Err() == nil && deadline.Err() != nil:
		return &exitError{exitTimeout, fmt.Errorf("not done within %s: %s", timeout, said)}
	}
	return err
}
