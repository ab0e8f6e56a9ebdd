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

func (a *app) suspendCmd() *cobra.Command {
	message := ""
	cmd := &cobra.Command{
		Use: "suspend", Short: "Don't follow the source of the spec until resume",
		Long: `Don't follow the source of the spec: whatever the file or the repository has next,
the spec in force stays, over restarts, until "agentctl resume". The source is read
all the same, and "agentctl describe node" shows what is waiting. Workers go on
taking tasks (see "agentctl cordon"), but the node is not ready while suspended.`,
		Example: "  agentctl suspend -m 'benchmark until Friday'",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := a.client()
			defer c.Close()
			if _, err := c.Suspend(cmd.Context(), message); err != nil {
				return err
			}
			_, err := fmt.Fprintln(a.Stdout, "suspended")
			return err
		},
	}
	cmd.Flags().StringVarP(&message, "message", "m", "", "why, for whoever looks at the node")
	return cmd
}

func (a *app) resumeCmd() *cobra.Command {
	yes, timeout := false, time.Duration(0)
	cmd := &cobra.Command{
		Use: "resume", Short: "Follow the source of the spec again",
		Long: `Follow the source of the spec again after suspend, rollback, or a trial that was
reverted, and wait until the node has reached what it has. What is waiting there is
shown and, on a terminal, asked for.`,
		Example: "  agentctl resume\n  agentctl resume --yes --timeout 0",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.resume(cmd.Context(), yes, timeout) },
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "don't ask")
	cmd.Flags().DurationVar(&timeout, "timeout", 10*time.Minute, "longest wait for convergence; 0 does not wait")
	return cmd
}

func (a *app) resume(ctx context.Context, yes bool, timeout time.Duration) error {
	c := a.client()
	defer c.Close()
	snap, err := c.Status(ctx)
	if err != nil {
		return err
	}
	if w := snap.Waiting; w != nil && snap.Suspension != nil {
		a.say("%s", w)
		for _, change := range w.Changes {
			a.say("  %s", changeLine(change))
		}
		if err := a.confirm(yes || len(w.Changes) == 0, "follow it again?", "not resumed"); err != nil {
			return err
		}
	}
	res, err := c.Resume(ctx)
	if err != nil {
		return err
	}
	if err := accepted(res); err != nil {
		return fmt.Errorf("the source is followed again, but what it has is refused: %w", err)
	}
	return a.await(ctx, c, res.Generation, timeout)
}

func (a *app) confirmCmd() *cobra.Command {
	return &cobra.Command{
		Use: "confirm", Short: "Keep a spec that was applied with --try",
		Long: `Keep the spec that "agentctl apply --try" has put in force: it does not revert any
more, and its file is the source from then on.`,
		Example: "  agentctl apply --try 5m node.yaml && agentctl confirm",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := a.client()
			defer c.Close()
			res, err := c.Confirm(cmd.Context())
			if err == nil {
				err = accepted(res)
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.Stdout, "confirmed")
			return err
		},
	}
}

// accepted is an error if a text was not.
func accepted(res reconcile.Result) error {
	switch {
	case res.Accepted || res.Superseded:
		return nil
	case res.Problems.Err() != nil:
		return res.Problems.Err()
	}
	return errors.New(res.Error)
}

// await waits until the node has reached a generation; a timeout of 0 does not wait.
func (a *app) await(ctx context.Context, c *control.Client, generation int64, timeout time.Duration) error {
	if timeout == 0 {
		return nil
	}
	deadline, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := a.converged(deadline, c, generation)
	if err == nil {
		err = a.serverRuns(deadline, c)
	}
	if err != nil && ctx.Err() == nil && deadline.Err() != nil {
		return &exitError{exitTimeout, fmt.Errorf("the spec is in force, but the node has not converged within %s: %w", timeout, err)}
	}
	return err
}

// notSuspended refuses at once what the agent would refuse, with the reason of whoever
// suspended the node.
func (a *app) notSuspended(ctx context.Context, c *control.Client, resume bool) error {
	snap, err := c.Status(ctx)
	switch {
	case errors.Is(err, control.ErrNoAgent):
		return nil
	case err != nil:
		return err
	case snap.Suspension != nil && !resume:
		return fmt.Errorf("the node is suspended since %s: %s; or apply with --resume, which ends that", snap.Suspension.Since.Local().Format(time.DateTime), snap.Suspension)
	}
	return nil
}

// onTrial tells until when a trial must be confirmed.
func (a *app) onTrial(ctx context.Context, c *control.Client) error {
	snap, err := c.Status(ctx)
	if err != nil {
		return err
	}
	if s := snap.Suspension; s != nil && !s.Until.IsZero() {
		a.say("on trial until %s: `agentctl confirm` keeps it, else the spec before comes back", s.Until.Local().Format(time.DateTime))
		return nil
	}
	return errors.New("the trial is over already: see agentctl describe node")
}
