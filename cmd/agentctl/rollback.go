package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"agentctl/control"

	"github.com/spf13/cobra"
)

type rollbackFlags struct {
	yes     bool
	dryRun  bool
	message string
	timeout time.Duration
}

func (a *app) rollbackCmd() *cobra.Command {
	var f rollbackFlags
	cmd := &cobra.Command{
		Use: "rollback [REVISION]", Short: "Make an earlier revision the spec again",
		Long: `Make the text of an earlier revision the spec, as a new revision, and wait until
the node has reached it. Without REVISION it is the last one that differs from what
is in force. The plan is shown and, on a terminal, asked for.

The source of the spec, which has another text, is not followed from then on: the
node says so by the condition Suspended, and is not ready, until "agentctl resume",
or "agentctl apply --resume" of another spec. A trial (apply --try) ends.`,
		Example: "  agentctl rollback\n  agentctl rollback 12 --yes -m 'the new image is broken'\n  agentctl rollback --dry-run",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			number := int64(0)
			if len(args) > 0 {
				var ok bool
				if number, ok = revisionNumber(args[0]); !ok {
					return usagef("%q is no revision; see agentctl history", args[0])
				}
			}
			return a.rollback(cmd.Context(), number, f)
		},
	}
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "don't ask")
	cmd.Flags().BoolVarP(&f.dryRun, "dry-run", "n", false, "show the plan and change nothing")
	cmd.Flags().StringVarP(&f.message, "message", "m", "", "why, for the history")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 10*time.Minute, "longest wait for convergence; 0 does not wait")
	return cmd
}

// revisionNumber reads the number of a revision.
func revisionNumber(arg string) (int64, bool) {
	n, err := strconv.ParseInt(arg, 10, 64)
	return n, err == nil && n > 0
}

func (a *app) rollback(ctx context.Context, number int64, f rollbackFlags) error {
	c := a.client()
	defer c.Close()
	seen, err := c.Rollback(ctx, control.RollbackRequest{Number: number, DryRun: true})
	if err != nil {
		return err
	}
	if seen.Preview.Problems.Err() != nil {
		return a.invalid(seen.Preview.Problems)
	}
	a.warnings(seen.Preview)
	if !a.quiet {
		a.writePlan(a.Stderr, seen.Preview)
	}
	if f.dryRun {
		return nil
	}
	if err := a.confirm(f.yes, fmt.Sprintf("roll back to revision %d?", seen.Number), "not rolled back"); err != nil {
		return err
	}
	// What is in force must be what the plan was made for.
	reply, err := c.Rollback(ctx, control.RollbackRequest{Number: seen.Number, Base: seen.Preview.Base, Message: f.message})
	if err != nil {
		return err
	}
	if err := accepted(reply.Result); err != nil {
		return err
	}
	if err := a.await(ctx, c, reply.Result.Generation, f.timeout); err != nil {
		return err
	}
	a.say("the source of the spec is not followed until `agentctl resume`")
	return nil
}
