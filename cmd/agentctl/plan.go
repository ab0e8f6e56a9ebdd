package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"agentctl/control"
	"agentctl/reconcile"
	"agentctl/spec"

	"github.com/spf13/cobra"
)

func (a *app) planCmd() *cobra.Command {
	out := newOutput(asJSON, asYAML)
	var f agentFlags
	detailed := false
	cmd := &cobra.Command{
		Use: "plan [FILE…|FOLDER|-]", Short: "Show what applying a spec would do",
		Long: `Show what applying a spec would do, and change nothing. Each line has a sign, a
worker and a reason: + starts it, ~ changes its settings from its next task on,
- takes it out of service, ! waits. Without FILE the plan that the agent is
carrying out is shown. Where no agent runs, it is what a new one would do. The
revision that it was made for is named: "agentctl apply --check" takes it.`,
		Example: "  agentctl plan node.yaml\n  agentctl plan --detailed-exitcode node.yaml",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := a.preview(cmd.Context(), args, f)
			if err != nil {
				return err
			}
			if out.format != "" {
				err = out.write(a.Stdout, plan)
			} else {
				a.warnings(plan)
				a.writePlan(a.Stdout, plan)
				if plan.Base != "" {
					a.say("made for revision %.12[1]s: `agentctl apply --check %.12[1]s` applies it to no other", plan.Base)
				}
			}
			if err == nil && detailed && different(plan) {
				return &exitError{code: exitDiffers}
			}
			return err
		},
	}
	out.flag(cmd)
	cmd.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit with 2 if something would be done, 0 if nothing, 1 if that can't be told")
	a.nodeNameFlag(cmd, &f)
	return cmd
}

// exitDiffers is the exit code of plan --detailed-exitcode, by Terraform's custom.
const exitDiffers = 2

// preview is the plan for the spec in args, or the agent's present one.
func (a *app) preview(ctx context.Context, args []string, f agentFlags) (reconcile.Preview, error) {
	c := a.client()
	defer c.Close()
	if len(args) == 0 {
		snap, err := c.Status(ctx)
		if err != nil {
			return reconcile.Preview{}, err
		}
		return reconcile.Preview{Plan: snap.Plan}, nil
	}
	req, err := a.request(args)
	if err != nil {
		return reconcile.Preview{}, err
	}
	return a.plan(ctx, c, req, f)
}

// plan asks the agent, or, where none runs, computes what a first start would do.
func (a *app) plan(ctx context.Context, c *control.Client, req control.ApplyRequest, f agentFlags) (reconcile.Preview, error) {
	// Checked here first: an agent may be older, and has less to say. What others have
	// in their repository is not for this node to refuse.
	if _, problems := spec.DecodeAll(req.File, req.Text); req.Git == nil && problems.Err() != nil {
		return reconcile.Preview{}, a.invalid(problems)
	}
	ask := control.PlanRequest{File: req.File, Text: req.Text}
	if req.Git != nil { // an older agent knows of no contributions, and none of this field
		list, err := a.contributions(ctx, c)
		ask.Alone = err == nil && len(list) > 0
	}
	plan, err := c.Plan(ctx, ask)
	if errors.Is(err, control.ErrNoAgent) {
		a.say("no agent runs here: this is what a new one would do")
		plan, err = a.firstPlan(req, f)
	}
	if err == nil && plan.Problems.Err() != nil {
		err = a.invalid(plan.Problems)
	}
	return plan, err
}

func (a *app) firstPlan(req control.ApplyRequest, f agentFlags) (reconcile.Preview, error) {
	host, err := a.hostOf(f)
	if err != nil {
		return reconcile.Preview{}, err
	}
	node, problems := spec.DecodeFor(req.File, req.Text, host)
	p := reconcile.Preview{Problems: problems}
	if node != nil {
		p.Plan = reconcile.Compute(reconcile.DesiredOf(node.Default(spec.Env{Hostname: host.Name})), reconcile.Observed{}, time.Now())
	}
	return p, nil
}

func different(p reconcile.Preview) bool { return !p.Plan.Converged() || len(p.Changes) > 0 }

// sign is how a verb begins its line, and its colour on a terminal.
type sign struct{ text, colour string }

var signs = map[reconcile.Verb]sign{
	reconcile.Start: {"+", "32"}, reconcile.Update: {"~", "33"}, reconcile.Wait: {"!", "36"},
	reconcile.Requeue: {"-", "31"}, reconcile.End: {"-", "31"}, reconcile.Drain: {"-", "31"}, reconcile.Stop: {"-", "31"}, reconcile.Forget: {"-", "31"},
}

// warnings prints those of a spec.
func (a *app) warnings(p reconcile.Preview) {
	for _, w := range p.Problems.Warnings() {
		a.say("%s", w)
	}
	for _, d := range p.Dangers {
		a.say("warning: %s", d.Message)
	}
}

// writePlan prints a plan: the fields that change, then an action a line.
func (a *app) writePlan(w io.Writer, p reconcile.Preview) {
	for _, c := range p.Changes {
		fmt.Fprintln(w, printable("  "+changeLine(c)))
	}
	paint := a.colour(w)
	for _, act := range p.Plan.Actions {
		s := signs[act.Verb]
		line := printable(fmt.Sprintf("%s %s  %s: %s", s.text, act.Worker, act.Verb, act.Reason))
		if paint {
			line = "\x1b[" + s.colour + "m" + line + "\x1b[0m"
		}
		fmt.Fprintln(w, line)
		for _, c := range act.Changes {
			fmt.Fprintln(w, printable("    "+changeLine(c)))
		}
		if act.Task != "" {
			fmt.Fprintln(w, printable("    "+touched(act, time.Now())))
		}
	}
	for _, m := range p.Plan.Slots {
		fmt.Fprintln(w, printable("  "+moveLine(m)))
	}
	if !different(p) {
		fmt.Fprintln(w, "nothing to do")
	}
}

// changeLine says what changes, and when it takes effect if that is not at once.
func changeLine(c spec.Change) string {
	line := c.String()
	switch c.Class {
	case spec.ClassWaits:
		line += "  (as tasks end)"
	case spec.ClassDrain:
		line += "  (workers that go finish their tasks)"
	}
	return strings.TrimSpace(line)
}

// touched says how long the task of an action has run, and when it ends at the latest.
func touched(a reconcile.Action, now time.Time) string {
	line := "task " + a.Task
	if !a.Since.IsZero() {
		line += ", since " + age(a.Since, now)
	}
	if a.Until.IsZero() {
		return line + ", without a time limit"
	}
	return line + ", until " + a.Until.Local().Format(time.DateTime) + " at the latest"
}

// moveLine says how a GPU changes hands.
func moveLine(m reconcile.SlotMove) string {
	line := fmt.Sprintf("gpu %s: %s -> %s", m.Slot, cmp.Or(m.From, "free"), cmp.Or(m.To, "free"))
	if m.Task != "" {
		line += "  (when task " + m.Task + " has ended)"
	}
	return line
}
