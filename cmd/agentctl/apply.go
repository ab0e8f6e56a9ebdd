package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"agentctl/control"
	"agentctl/reconcile"
	"agentctl/server"

	"github.com/spf13/cobra"
)

type applyFlags struct {
	agent    agentFlags
	dryRun   bool
	yes      bool
	noWatch  bool
	takeOver bool
	git      gitFlags
	timeout  time.Duration
	resume   bool
	check    string
	message  string
	try      time.Duration
	empty    bool
	server   bool
}

func (a *app) applyCmd() *cobra.Command {
	var f applyFlags
	cmd := &cobra.Command{
		Use: "apply FILE…|FOLDER|-", Short: "Make a spec the node's desired state and wait until it is reached",
		Long: `Make a spec the node's desired state.

The spec is checked, the plan is shown and, on a terminal, asked for (--yes
answers beforehand). The file becomes the node's source: from then on editing it
is enough. So does a folder with all its *.yaml, and with --git a repository. "-"
and --no-watch pin the text instead; several files can be pinned only. Running tasks are never
stopped: a worker that is no longer wanted finishes its task. If no agent runs,
one is started, which stays. Exit code 2 if the spec is not valid, 3 if the node
has not converged by --timeout; the spec is in force then all the same.

With --check REVISION nothing is changed, and the exit code is 4, if another spec is
in force than the one that a plan was made for. With --try 5m the spec before comes
back unless "agentctl confirm" is said in time, also if the agent is killed
meanwhile; until then the source is not followed. A node that is suspended is only
changed with --resume.`,
		Example: "  agentctl apply node.yaml\n  agentctl apply --yes --timeout 5m node.yaml\n  agentctl apply --try 5m node.yaml\n  agentctl apply --dry-run node.yaml\n  generate | agentctl apply --yes -",
		RunE:    func(cmd *cobra.Command, args []string) error { return a.apply(cmd.Context(), args, f) },
	}
	a.agentOnlyFlags(cmd, &f.agent)
	cmd.Flags().BoolVarP(&f.dryRun, "dry-run", "n", false, "show the plan and change nothing")
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "don't ask")
	cmd.Flags().BoolVar(&f.noWatch, "no-watch", false, "pin the text instead of following the file")
	cmd.Flags().BoolVar(&f.takeOver, "take-over", false, "replace a source that was given by the agent's flags, or a repository, and take a repository's rewritten history")
	f.git.flags(cmd)
	cmd.Flags().BoolVar(&f.resume, "resume", false, "apply though the node is suspended, and end that")
	cmd.Flags().StringVar(&f.check, "check", "", "refuse if another revision is in force than this one (number or digest)")
	cmd.Flags().StringVarP(&f.message, "message", "m", "", "why, for the history")
	cmd.Flags().DurationVar(&f.try, "try", 0, "revert after so long unless agentctl confirm is said before")
	cmd.Flags().BoolVar(&f.empty, "allow-empty", false, "let a spec take away all workers though it does not say workers: []")
	cmd.Flags().BoolVar(&f.server, "allow-server-change", false, "change to a server that does not answer, or does not know the node's keys")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 10*time.Minute, "longest wait for convergence; 0 does not wait")
	return cmd
}

func (a *app) apply(ctx context.Context, args []string, f applyFlags) error {
	switch {
	case f.try < 0:
		return usagef("--try must not be negative")
	case f.try > 0 && f.git.URL != "":
		return usagef("a repository can't be tried; try a file")
	}
	c := a.client()
	defer c.Close()
	req, err := a.applyRequest(ctx, c, args, f)
	if err != nil {
		return err
	}
	req.Resume, req.Base, req.Message, req.Try = f.resume, f.check, f.message, f.try
	req.AllowEmpty, req.AllowServer = f.empty, f.server
	plan, err := a.plan(ctx, c, req, f.agent)
	if err != nil {
		return err
	}
	a.warnings(plan)
	moved, err := a.sourceChange(ctx, c, req)
	if err != nil {
		return err
	}
	if moved != "" {
		a.say("%s", moved)
	}
	if !a.quiet {
		a.writePlan(a.Stderr, plan)
	}
	if f.dryRun {
		return nil
	}
	if err := a.notSuspended(ctx, c, f.resume); err != nil {
		return err
	}
	if err := a.confirm(f.yes || !different(plan) && moved == "", "apply?", "not applied"); err != nil {
		return err
	}
	if err := a.ensureAgent(ctx, c, f.agent); err != nil {
		return err
	}
	reply, err := c.Apply(ctx, req)
	if err != nil {
		return a.explained(err)
	}
	if err := a.await(ctx, c, reply.Generation, f.timeout); err != nil || f.try == 0 {
		return err
	}
	return a.onTrial(ctx, c)
}

// serverRuns waits for the embedded server, if the node has it: what is typed next
// may need its keys.
func (a *app) serverRuns(ctx context.Context, c *control.Client) error {
	snap, err := c.Status(ctx)
	if err != nil || snap.Node == nil || snap.Node.Spec.Server.URL != "" {
		return err
	}
	who, err := c.Agent(ctx)
	if err != nil {
		return err
	}
	for {
		if _, alive, err := server.ReadEndpoint(who.Server); err == nil && alive {
			return nil
		}
		select {
		case <-ctx.Done():
			return errServerDown
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// confirm asks whoever sits at the terminal.
func (a *app) confirm(sure bool, question, no string) error {
	if sure || !terminal(a.Stdin) || !terminal(a.Stderr) {
		return nil
	}
	fmt.Fprint(a.Stderr, question+" [y/N] ")
	line, err := bufio.NewReader(a.Stdin).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); err == nil && (answer == "y" || answer == "yes") {
		return nil
	}
	return errors.New(no)
}

// errReached ends the watching of the node.
var errReached = errors.New("reached")

// converged waits until the node has reached the generation, and tells what it
// waits for meanwhile. The error at the end of ctx says what that was.
func (a *app) converged(ctx context.Context, c *control.Client, generation int64) error {
	said := "nothing was heard of it"
	err := c.Watch(ctx, func(s *reconcile.Snapshot) error {
		ready, _ := s.Condition(reconcile.Ready)
		if s.Generation > generation {
			return fmt.Errorf("another spec was applied meanwhile: revision %s from %s", revision(s.LastApplied), origin(s.LastApplied.Origin))
		}
		inForce := ready.Status == reconcile.True || ready.Reason == reconcile.ReadySuspended
		if s.ObservedGeneration >= generation && s.Plan.Converged() && inForce && asked(s) {
			a.say("converged: %s: %s, revision %s", nodeTitle(s), plural(len(s.Workers), "worker"), revision(s.LastApplied))
			return errReached
		}
		if now := progress(s, ready); now != said && now != "" {
			said = now
			a.say("waiting: %s", now)
		}
		return nil
	})
	switch {
	case errors.Is(err, errReached):
		return nil
	case ctx.Err() != nil:
		return errors.New(said)
	}
	return err
}

// asked tells whether the server has been looked at, which idle workers do at once:
// before that, nobody knows whether it answers.
func asked(s *reconcile.Snapshot) bool {
	return len(s.Workers) == 0 || s.Server.URL != "" || running(s) > 0
}

// progress is what keeps the node from being converged.
func progress(s *reconcile.Snapshot, ready reconcile.Condition) string {
	if doing, ok := s.Condition(reconcile.Reconciling); ok && doing.Message != "" && ready.Reason != "ServerUnreachable" {
		return doing.Message
	}
	return ready.Message
}
