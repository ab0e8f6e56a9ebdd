package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"agentctl/control"
	"agentctl/reconcile"
	"agentctl/spec"

	"github.com/spf13/cobra"
)

type drainFlags struct {
	policy   string
	deadline time.Duration
	force    bool
	detach   bool
	reboot   bool
	reason   string
	timeout  time.Duration
}

func (a *app) drainCmd() *cobra.Command {
	f := drainFlags{}
	cmd := &cobra.Command{
		Use: "drain [WORKER]", Short: "Take workers out of service and wait until their tasks have ended",
		Long: `Let workers take no further task, and wait until those they have are done.
WORKER is one (train/0) or a group (train); without it the whole node is drained.

What becomes of running tasks is the policy: finish waits for their end, requeue
puts them back to the front of their queues, stop ends them. Without --policy it
is that of each worker's "drain:". A task that still runs at --deadline is put
back into its queue. One that asked for it is told to save its state before.

To end the wait is not to end the drain: "agentctl uncordon" does that. Exit code
3 if a task still runs after --timeout.`,
		Example: "  agentctl drain\n  agentctl drain train/0 --deadline 1h -m 'new driver'\n  agentctl drain --for-reboot --deadline 10m && systemctl reboot\n  agentctl drain train --policy requeue --detach\n  agentctl drain --policy stop --force",
		Args:    cobra.MaximumNArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.drain(cmd.Context(), one(args), f) },
	}
	cmd.Flags().StringVar(&f.policy, "policy", "", "what becomes of running tasks: finish, requeue or stop (default that of each worker)")
	cmd.Flags().DurationVar(&f.deadline, "deadline", 0, "longest wait for a task before it is put back into its queue (default that of each worker)")
	cmd.Flags().BoolVar(&f.force, "force", false, "end tasks at once, without a checkpoint and without their grace; needs --policy requeue or stop")
	cmd.Flags().BoolVar(&f.reboot, "for-reboot", false, "let the next start of the machine end the drain of the node")
	cmd.Flags().BoolVar(&f.detach, "detach", false, "don't wait")
	cmd.Flags().StringVarP(&f.reason, "reason", "m", "", "why, for whoever looks at the node or at a task that was put back")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 24*time.Hour, "longest wait; 0 does not wait")
	return cmd
}

func (a *app) drain(ctx context.Context, worker string, f drainFlags) error {
	policies := []string{"", spec.DrainFinish, spec.DrainRequeue, spec.DrainStop}
	switch {
	case !slices.Contains(policies, f.policy):
		return usagef("%q is no policy; write finish, requeue or stop", f.policy)
	case f.force && f.policy != spec.DrainRequeue && f.policy != spec.DrainStop:
		return usagef("--force needs --policy requeue or --policy stop: it says what becomes of the tasks")
	case f.deadline < 0:
		return usagef("--deadline must not be negative")
	}
	c := a.client()
	defer c.Close()
	names, err := c.Order(ctx, control.OrderRequest{
		Worker: worker, Policy: cmp.Or(f.policy, reconcile.DrainOwn), Deadline: f.deadline, Force: f.force, UntilReboot: f.reboot, Reason: f.reason,
	})
	if err != nil {
		return err
	}
	if f.detach {
		return a.done(names, "draining")
	}
	err = a.until(ctx, c, f.timeout, func(s *reconcile.Snapshot) string { return busy(s, names, worker == "") })
	if err != nil {
		return err
	}
	return a.done(names, "drained")
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
	reason := ""
	cmd := &cobra.Command{
		Use: verb + " [WORKER]", Short: short, Long: long,
		Example: fmt.Sprintf("  agentctl %[1]s\n  agentctl %[1]s train/0", verb),
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := a.client()
			defer c.Close()
			names, err := c.Order(cmd.Context(), control.OrderRequest{Worker: one(args), Off: !on, Reason: reason})
			if err != nil {
				return err
			}
			return a.done(names, verb+"ed")
		},
	}
	if on {
		cmd.Flags().StringVarP(&reason, "reason", "m", "", "why, for whoever looks at the node")
	}
	return cmd
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
