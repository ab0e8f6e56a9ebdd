package main

import (
	"context"

	"agentctl/reconcile"

	"github.com/spf13/cobra"
)

func (a *app) planCmd() *cobra.Command {
	out := newOutput("json", "yaml")
	detailed := false
	cmd := &cobra.Command{
		Use: "plan FILE|-", Short: "Show what applying a spec would do",
		Long: `Show what applying a spec would do, and change nothing. With
--detailed-exitcode the exit code is 0 if nothing would be done, 2 if something
would, 1 if that can't be told.`,
		Example: "  agentctl plan node.yaml\n  agentctl plan --detailed-exitcode node.yaml",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := a.preview(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if out.format != "" {
				err = out.write(a.Stdout, plan)
			} else {
				a.showPlan(plan)
			}
			if err == nil && detailed && different(plan) {
				return &exitError{code: 2}
			}
			return err
		},
	}
	out.flag(cmd)
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit code 2 if something would be done")
	return cmd
}

func (a *app) diffCmd() *cobra.Command {
	return &cobra.Command{
		Use: "diff FILE|-", Short: "Compare a spec with the node's; exit code 1 if they differ",
		Example: "  agentctl diff node.yaml", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := a.preview(cmd.Context(), args[0])
			if err != nil {
				return &exitError{max(2, exitCodeOf(cmd.Context(), err)), err}
			}
			a.showPlan(plan)
			if different(plan) {
				return &exitError{code: 1}
			}
			return nil
		},
	}
}

func exitCodeOf(ctx context.Context, err error) int {
	code, _ := classify(ctx, err)
	return code
}

func (a *app) preview(ctx context.Context, arg string) (reconcile.Preview, error) {
	req, err := a.request(arg, false, false)
	if err != nil {
		return reconcile.Preview{}, err
	}
	c := a.client()
	defer c.Close()
	return a.plan(ctx, c, req, agentFlags{})
}

func different(p reconcile.Preview) bool { return !p.Plan.Converged() || len(p.Changes) > 0 }
