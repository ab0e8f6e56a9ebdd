package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"agentctl/control"
	"agentctl/reconcile"

	"github.com/spf13/cobra"
)

func (a *app) drainCmd() *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "drain [WORKER]", Short: "Cordon workers and wait until their tasks have ended",
		Long: `Let workers take no further task, and wait until those they have are done.
WORKER is one (train/0) or a group (train); without it the whole node is drained.
To end the wait is not to end the drain: "agentctl uncordon" does that. Exit code
3 if a task still runs after --timeout.`,
		Example: "  agentctl drain\n  agentctl drain train/0 --timeout 1h\n  agentctl drain train && agentctl stop 3f2a",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := a.client()
			defer c.Close()
			names, err := c.Cordon(cmd.Context(), control.CordonRequest{Worker: one(args), On: true})
			if err != nil {
				return err
			}
			err = a.until(cmd.Context(), c, wait, func(s *reconcile.Snapshot) string { return busy(s, names, len(args) == 0) })
			if err != nil {
				return err
			}
			return a.done(names, "drained")
		},
	}
	cmd.Flags().DurationVar(&wait, "timeout", 24*time.Hour, "longest wait; 0 does not wait")
	return cmd
}

// busy says which of the workers still have a task. A snapshot in which one is not
// cordoned is from before, when it might just have been taking a task.
func busy(s *reconcile.Snapshot, names []string, all bool) string {
	var parts []string
	for _, w := range s.Workers {
		switch {
		case !all && !slices.Contains(names, w.Name):
		case w.Task != nil:
			parts = append(parts, w.Name+" has task "+w.Task.ID)
		case !w.Cordoned():
			parts = append(parts, w.Name+" is being cordoned")
		}
	}
	return strings.Join(parts, ", ")
}

func (a *app) cordonCmd() *cobra.Command {
	return a.cordoning("cordon", "Let workers take no further task", `Let workers take no further task; those they have go on. It holds until
"agentctl uncordon". WORKER is one (train/0) or a group (train); without it the
whole node is cordoned.`, true)
}

func (a *app) uncordonCmd() *cobra.Command {
	return a.cordoning("uncordon", "Let workers take tasks again", `Let workers take tasks again after a drain or a cordon. WORKER is one (train/0) or
a group (train); without it the whole node takes tasks again.`, false)
}

func (a *app) cordoning(verb, short, long string, on bool) *cobra.Command {
	return &cobra.Command{
		Use: verb + " [WORKER]", Short: short, Long: long,
		Example: fmt.Sprintf("  agentctl %[1]s\n  agentctl %[1]s train/0", verb),
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := a.client()
			defer c.Close()
			names, err := c.Cordon(cmd.Context(), control.CordonRequest{Worker: one(args), On: on})
			if err != nil {
				return err
			}
			return a.done(names, verb+"ed")
		},
	}
}

// done prints the workers that an order was about.
func (a *app) done(names []string, what string) error {
	for _, name := range names {
		if _, err := fmt.Fprintln(a.Stdout, name, what); err != nil {
			return err
		}
	}
	return nil
}

func one(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
