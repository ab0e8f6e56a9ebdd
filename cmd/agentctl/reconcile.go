package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"agentctl/control"
	"agentctl/reconcile"

	"github.com/spf13/cobra"
)

func (a *app) reconcileCmd() *cobra.Command {
	var now, rewind bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use: "reconcile", Short: "Have the node look at its source now, and wait until it has converged",
		Long: `Wait until the node has converged with the spec in force. With --now the source is
read first: a repository is asked for its newest commit without waiting for the
interval. A commit that does not come after the one that was applied last (a forced
push) is refused; --accept-rewind takes the newest one all the same, this once.
Exit code 1 if the node is suspended, 3 if it has not converged by --timeout.`,
		Example: "  agentctl reconcile --now\n  agentctl reconcile --now --accept-rewind",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if rewind && !now {
				return usagef("--accept-rewind takes what --now finds; give both")
			}
			return a.reconcile(cmd.Context(), now, rewind, timeout)
		},
	}
	cmd.Flags().BoolVar(&now, "now", false, "read the source first")
	cmd.Flags().BoolVar(&rewind, "accept-rewind", false, "take the newest commit though the history was rewritten")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Minute, "longest wait for convergence; 0 does not wait")
	return cmd
}

func (a *app) reconcile(ctx context.Context, now, rewind bool, timeout time.Duration) error {
	c := a.client()
	defer c.Close()
	snap, err := c.Status(ctx)
	if err != nil {
		return err
	}
	generation := snap.Generation
	if now {
		res, err := c.Reload(ctx, control.ReloadRequest{AcceptRewind: rewind})
		switch {
		case err != nil:
			return err
		case len(res.Problems.Errors()) > 0:
			return a.invalid(res.Problems)
		case !res.Accepted && !res.Superseded:
			return a.unread(ctx, c, res.Error)
		}
		generation = res.Generation
	}
	if snap, err = c.Status(ctx); err != nil {
		return err
	}
	if snap.Suspension != nil {
		return fmt.Errorf("what the source has is not taken: %s", snap.Suspension)
	}
	if timeout == 0 {
		return nil
	}
	deadline, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := a.converged(deadline, c, generation); err != nil {
		if ctx.Err() == nil && deadline.Err() != nil {
			return &exitError{exitTimeout, fmt.Errorf("the node has not converged within %s: %w", timeout, err)}
		}
		return err
	}
	return nil
}

// unread is the error of a source that gave no text; one that is not verified has an
// exit code of its own.
func (a *app) unread(ctx context.Context, c *control.Client, message string) error {
	snap, err := c.Status(ctx)
	if err != nil {
		return err
	}
	accepted, _ := snap.Condition(reconcile.SpecAccepted)
	if accepted.Reason == "NotSigned" || accepted.Reason == "NotDescendant" {
		return &exitError{exitUnverified, errors.New(message)}
	}
	return errors.New(message)
}
