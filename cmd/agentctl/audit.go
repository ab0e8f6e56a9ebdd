package main

import (
	"fmt"

	"agentctl/control"

	"github.com/samber/lo"
	"github.com/spf13/cobra"
)

func (a *app) auditCmd() *cobra.Command {
	out := newOutput(asTable, asJSON, asYAML)
	strict := false
	cmd := &cobra.Command{
		Use: "audit [WORKER|TASK…]", Short: "Show what tasks of this node can reach",
		Long: `Show what tasks of the workers can reach, or, for a running task, what it does: as
whom it runs, which files, devices and networks of the host it has, which limits
hold on this host, and what it may ask for. Each line is taken from the settings
that the sandbox is made of. ! marks what lets a task do more than run in a box of
its own, KEY what changes it in node.yaml. With --strict exit code 1 if there is
any.`,
		Example: "  agentctl audit\n  agentctl audit train --strict\n  agentctl audit 3f2a91c0 -o json",
		RunE: func(cmd *cobra.Command, args []string) error {
			c := a.client()
			defer c.Close()
			list, err := c.Audit(cmd.Context(), args)
			if err != nil {
				return err
			}
			if out.structured() {
				err = out.write(a.Stdout, list)
			} else {
				err = a.writeReaches(list)
			}
			if risks := lo.CountBy(list, func(r control.Reach) bool { return r.Risk }); err == nil && strict && risks > 0 {
				return &exitError{exitFailed, fmt.Errorf("%s marked", plural(risks, "line"))}
			}
			return err
		},
	}
	out.flag(cmd)
	cmd.Flags().BoolVar(&strict, "strict", false, "exit with 1 if a line is marked")
	return cmd
}

func (a *app) writeReaches(list []control.Reach) error {
	return table(a.Stdout, []string{"OF", " ", "WHAT", "REACH", "KEY"}, lo.Map(list, func(r control.Reach, _ int) []string {
		return []string{r.Of, lo.Ternary(r.Risk, "!", " "), r.What, printable(r.Text), lo.Ternary(r.Key == "", " ", r.Key)}
	}))
}
