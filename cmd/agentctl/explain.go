package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"agentctl/clearml"
	"agentctl/reconcile"

	"github.com/spf13/cobra"
)

func (a *app) explainCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "explain", Short: "Say why a task, a queue or a worker does not run",
		Long: `Say why nothing runs: one line for each reason, with a code for programs. Exit
code 1 if something is wrong, 0 if all is as it should be.`,
		Example: "  agentctl explain queue default\n  agentctl explain task 3f2a91c0\n  agentctl explain worker train/0 -o json",
	}
	cmd.AddCommand(
		a.explaining("queue", "NAME", "Say why the tasks of a queue don't run", "default", a.explainQueue),
		a.explaining("task", "ID", "Say why a task does not run", "3f2a91c0", a.explainTask),
		a.explaining("worker", "NAME", "Say why a worker takes no task", "train/0", func(_ context.Context, s *reconcile.Snapshot, name string) ([]reconcile.Finding, error) {
			return s.Explain(name), nil
		}),
	)
	return group(cmd)
}

func (a *app) explaining(what, arg, short, example string, ask func(context.Context, *reconcile.Snapshot, string) ([]reconcile.Finding, error)) *cobra.Command {
	out := newOutput(asJSON, asYAML)
	cmd := &cobra.Command{
		Use: what + " " + arg, Short: short, Example: "  agentctl explain " + what + " " + example, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := a.client()
			defer c.Close()
			snap, err := c.Status(cmd.Context())
			if err != nil {
				return err
			}
			findings, err := ask(cmd.Context(), snap, args[0])
			if err != nil {
				return err
			}
			if out.format != "" {
				err = out.write(a.Stdout, findings)
			} else {
				a.writeFindings(a.Stdout, findings)
			}
			for _, f := range findings {
				if err == nil && !f.OK {
					err = &exitError{code: exitFailed}
				}
			}
			return err
		},
	}
	out.flag(cmd)
	return cmd
}

func (a *app) writeFindings(w io.Writer, findings []reconcile.Finding) {
	paint := a.colour(w)
	for _, f := range findings {
		mark, colour := "!", "33"
		if f.OK {
			mark, colour = "·", "32"
		}
		line := mark + " " + f.Code
		if paint {
			line = "\x1b[" + colour + "m" + line + "\x1b[0m"
		}
		if f.About != "" {
			line += "  " + printable(f.About) + ":"
		}
		line += " " + printable(f.Message)
		if !f.Until.IsZero() {
			line += ", until " + f.Until.Local().Format(time.DateTime)
		}
		fmt.Fprintln(w, line)
	}
}

// explainQueue asks the server for the queue. One that can't be reached is a finding.
func (a *app) explainQueue(ctx context.Context, s *reconcile.Snapshot, name string) ([]reconcile.Finding, error) {
	queues, err := a.queueFacts(ctx, s)
	if err != nil {
		down := reconcile.Finding{Code: reconcile.WhyServer, Message: err.Error()}
		return append([]reconcile.Finding{down}, s.Serving(reconcile.QueueFacts{Name: name})...), nil //nolint:nilerr // it is the answer
	}
	for _, q := range queues {
		if q.ID == name || strings.EqualFold(q.Name, name) {
			return s.ExplainQueue(q), nil
		}
	}
	return s.ExplainQueue(reconcile.QueueFacts{Name: name}), nil
}

func (a *app) queueFacts(ctx context.Context, s *reconcile.Snapshot) ([]reconcile.QueueFacts, error) {
	c := a.client()
	defer c.Close()
	way, err := a.nodeServer(ctx, c, s)
	if err != nil {
		return nil, err
	}
	defer way.Client.Close()
	list, err := way.Client.ListQueues(ctx)
	var out []reconcile.QueueFacts
	for _, q := range list {
		out = append(out, reconcile.QueueFacts{Name: q.Name, ID: q.ID, Exists: true, Tasks: q.Tasks()})
	}
	return out, err
}

func (a *app) explainTask(ctx context.Context, s *reconcile.Snapshot, id string) ([]reconcile.Finding, error) {
	for _, t := range s.Tasks { // the beginning of an id will do for those of this node
		if strings.HasPrefix(t.ID, id) {
			id = t.ID
			break
		}
	}
	facts, err := a.taskFacts(ctx, s, id)
	if err != nil {
		return []reconcile.Finding{{Code: reconcile.WhyServer, Message: err.Error()}}, nil //nolint:nilerr // it is the answer
	}
	return s.ExplainTask(facts), nil
}

func (a *app) taskFacts(ctx context.Context, s *reconcile.Snapshot, id string) (reconcile.TaskFacts, error) {
	facts := reconcile.TaskFacts{ID: id}
	c := a.client()
	defer c.Close()
	way, err := a.nodeServer(ctx, c, s)
	if err != nil {
		return facts, err
	}
	defer way.Client.Close()
	t, err := way.Client.Task(ctx, id)
	if errors.Is(err, clearml.ErrTaskGone) || clearml.IsRefused(err) {
		return facts, nil
	}
	if err != nil {
		return facts, err
	}
	facts.Exists, facts.Status, facts.Reason, facts.Message = true, t.Status, t.StatusReason, t.StatusMessage
	queues, err := way.Client.ListQueues(ctx)
	for _, q := range queues {
		for _, task := range q.Tasks() {
			if task == id {
				facts.Queue = &reconcile.QueueFacts{Name: q.Name, ID: q.ID, Exists: true, Tasks: q.Tasks()}
			}
		}
	}
	return facts, err
}
