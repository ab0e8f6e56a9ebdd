package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"agentctl/control"
	"agentctl/reconcile"
	"agentctl/spec"

	"github.com/spf13/cobra"
)

type applyFlags struct {
	agent    agentFlags
	dryRun   bool
	yes      bool
	noWatch  bool
	takeOver bool
	timeout  time.Duration
}

func (a *app) applyCmd() *cobra.Command {
	var f applyFlags
	cmd := &cobra.Command{
		Use: "apply FILE|-", Short: "Make a spec the node's desired state and wait until it is reached",
		Long: `Make a spec the node's desired state.

The plan is shown first; on a terminal it is asked for (--yes says so
beforehand). The file becomes the node's source: from then on editing it is
enough. "-" and --no-watch pin the text instead. Running tasks are never
stopped: a worker that is no longer wanted finishes its task. If no agent runs,
one is started. Exit code 3 if the node has not converged by --timeout.`,
		Example: "  agentctl apply node.yaml\n  agentctl apply --yes --timeout 5m node.yaml\n  agentctl apply --dry-run node.yaml",
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.apply(cmd.Context(), args[0], f) },
	}
	a.agentOnlyFlags(cmd, &f.agent)
	cmd.Flags().BoolVarP(&f.dryRun, "dry-run", "n", false, "show the plan and change nothing")
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "don't ask")
	cmd.Flags().BoolVar(&f.noWatch, "no-watch", false, "pin the text instead of following the file")
	cmd.Flags().BoolVar(&f.takeOver, "take-over", false, "replace a source that was given by the agent's flags")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 10*time.Minute, "longest wait for convergence; 0 does not wait")
	return cmd
}

// request reads a spec and makes the agent's request of it.
func (a *app) request(arg string, noWatch, takeOver bool) (control.ApplyRequest, error) {
	files, err := a.specFiles(arg)
	if err != nil {
		return control.ApplyRequest{}, err
	}
	if len(files) != 1 {
		return control.ApplyRequest{}, &usageError{fmt.Errorf("cannot apply the folder %s: name one file", arg)}
	}
	r := control.ApplyRequest{File: arg, Text: files[0].text, Watch: arg != "-" && !noWatch, TakeOver: takeOver}
	if arg != "-" {
		if r.File, err = filepath.Abs(arg); err != nil {
			return r, err
		}
	}
	return r, nil
}

func (a *app) apply(ctx context.Context, arg string, f applyFlags) error {
	req, err := a.request(arg, f.noWatch, f.takeOver)
	if err != nil {
		return err
	}
	// Checked here first: a spec with faults must not start an agent.
	if _, problems := spec.DecodeAll(arg, req.Text); problems.Err() != nil {
		return a.invalid(problems)
	}
	c := a.client()
	defer c.Close()
	plan, err := a.plan(ctx, c, req, f.agent)
	if err != nil {
		return err
	}
	a.showPlan(plan)
	if f.dryRun {
		return nil
	}
	if err := a.confirm(f.yes, plan); err != nil {
		return err
	}
	if err := a.ensureAgent(ctx, c, f.agent); err != nil {
		return err
	}
	reply, err := c.Apply(ctx, req)
	if err != nil {
		return err
	}
	if f.timeout == 0 {
		return nil
	}
	return a.converged(ctx, c, reply.Generation, f.timeout)
}

// plan asks the agent, or, where none runs, computes what a first start would do.
func (a *app) plan(ctx context.Context, c *control.Client, req control.ApplyRequest, f agentFlags) (reconcile.Preview, error) {
	plan, err := c.Plan(ctx, control.PlanRequest{File: req.File, Text: req.Text})
	if errors.Is(err, control.ErrNoAgent) {
		plan, err = a.firstPlan(req, f)
	}
	if err == nil && plan.Problems.Err() != nil {
		err = a.invalid(plan.Problems)
	}
	return plan, err
}

func (a *app) firstPlan(req control.ApplyRequest, f agentFlags) (reconcile.Preview, error) {
	name, err := (&agent{app: a, flags: f}).nodeName()
	if err != nil {
		return reconcile.Preview{}, err
	}
	node, problems := spec.DecodeFor(req.File, req.Text, name)
	p := reconcile.Preview{Problems: problems}
	if node != nil {
		p.Plan = reconcile.Compute(spec.Expand(node.Default(spec.Env{Hostname: name})), reconcile.Observed{}, time.Now())
	}
	return p, nil
}

var signs = map[reconcile.Verb]string{reconcile.Start: "+", reconcile.Update: "~", reconcile.Drain: "-", reconcile.Stop: "-", reconcile.Wait: "…"}

// showPlan prints the plan to stderr: it is talk, not data.
func (a *app) showPlan(p reconcile.Preview) {
	for _, w := range p.Problems.Warnings() {
		fmt.Fprintf(a.Stderr, "warning: %s\n", w)
	}
	if a.quiet {
		return
	}
	for _, c := range p.Changes {
		fmt.Fprintf(a.Stderr, "  %s\n", printable(c.String()))
	}
	for _, act := range p.Plan.Actions {
		fmt.Fprintf(a.Stderr, "%s %s worker %s: %s\n", signs[act.Verb], act.Verb, act.Worker, printable(act.Reason))
	}
	if p.Plan.Converged() && len(p.Changes) == 0 {
		fmt.Fprintln(a.Stderr, "nothing to do")
	}
}

func (a *app) confirm(yes bool, p reconcile.Preview) error {
	if yes || p.Plan.Converged() && len(p.Changes) == 0 || !terminal(a.Stdin) || !terminal(a.Stderr) {
		return nil
	}
	fmt.Fprint(a.Stderr, "apply? [y/N] ")
	line, err := bufio.NewReader(a.Stdin).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); err == nil && (answer == "y" || answer == "yes") {
		return nil
	}
	return errors.New("not applied")
}

// ensureAgent starts an agent in a session of its own if none runs, and waits
// until it answers.
func (a *app) ensureAgent(ctx context.Context, c *control.Client, f agentFlags) error {
	_, err := c.Agent(ctx)
	if !errors.Is(err, control.ErrNoAgent) {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot start the agent: %w", err)
	}
	if err := os.MkdirAll(a.state, 0o711); err != nil {
		return fmt.Errorf("cannot start the agent: %w", err)
	}
	logPath := filepath.Join(a.state, "agent.log")
	args := []string{"agent", "--state", a.state, "--socket", a.socket, "--server-listen", f.serverListen}
	if f.name != "" {
		args = append(args, "--node-name", f.name)
	}
	exited, err := spawn(logPath, self, args...)
	if err != nil {
		return fmt.Errorf("cannot start the agent: %w", err)
	}
	if !a.quiet {
		fmt.Fprintf(a.Stderr, "no agent was running: started one, its log is %s\n", logPath)
	}
	for {
		if _, err := c.Agent(ctx); !errors.Is(err, control.ErrNoAgent) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-exited:
			if _, err := c.Agent(ctx); err == nil {
				return nil // somebody else's agent was faster
			}
			return fmt.Errorf("the agent did not start: %s", lastLine(logPath))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// converged waits until the node has reached the generation.
func (a *app) converged(ctx context.Context, c *control.Client, generation int64, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	last := ""
	err := c.Watch(ctx, func(s *reconcile.Snapshot) error {
		ready, _ := s.Condition(reconcile.Ready)
		if s.ObservedGeneration >= generation && ready.Status == "True" {
			last = fmt.Sprintf("converged: %d workers, revision %d", len(s.Workers), s.LastApplied.Number)
			return errReached
		}
		if now := ready.Reason + ": " + ready.Message; now != last && ready.Message != "" && !a.quiet {
			last = now
			fmt.Fprintln(a.Stderr, printable(now))
		}
		return nil
	})
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &exitError{exitTimeout, fmt.Errorf("not converged within %s: %s", timeout, last)}
	}
	if !errors.Is(err, errReached) {
		return err
	}
	if !a.quiet {
		fmt.Fprintln(a.Stderr, last)
	}
	return nil
}

// errReached ends the watching of the node.
var errReached = errors.New("reached")
