package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"agentctl/clearml"
	"agentctl/control"
	"agentctl/reconcile"
	"agentctl/spec"
	"agentctl/worker"

	"github.com/spf13/cobra"
)

type submitFlags struct {
	queue, name, project string
	module               string
	requirements         string
	python, manager      string
	literal, wait        bool
}

func (a *app) submitCmd() *cobra.Command {
	var f submitFlags
	cmd := &cobra.Command{
		Use: "submit [SCRIPT] [-- ARGS…]", Short: "Make a task of a script and enqueue it",
		Long: `Make a task of a script, or with -m of a module, and enqueue it.

In a git checkout the task is the commit that the remote has, with all changes
since then, commits that are not pushed and new files that git does not ignore
among them. Elsewhere, and with --literal, it is the text of the script alone.
Packages come from --requirements, else from the repository's requirements.txt; with
another manager than pip the files of the repository count first (see "agentctl help
task-settings").

The id of the task goes to the standard output. With --wait its console does, and
the exit code is the task's own; to end the wait leaves the task alone.`,
		Example: "  agentctl submit train.py -- --lr 0.1\n  agentctl submit --wait --queue gpu -m project.train\n  agentctl submit --requirements requirements.txt --manager uv job.py",
		Args:    cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := worker.CheckChoice(f.choice()); err != nil {
				return &usageError{err}
			}
			script, rest, err := splitArgs(f, args, cmd.ArgsLenAtDash())
			if err != nil {
				return err
			}
			return a.submit(cmd.Context(), f, script, rest)
		},
	}
	cmd.Flags().StringVar(&f.queue, "queue", "", "queue (default the first one of this node's workers, else default)")
	cmd.Flags().StringVar(&f.name, "name", "", "name of the task (default the script's)")
	cmd.Flags().StringVar(&f.project, "project", "", "project (default the name of the checkout's folder)")
	cmd.Flags().StringVarP(&f.module, "module", "m", "", "run a module in place of a script")
	cmd.Flags().StringVar(&f.requirements, "requirements", "", "file with the packages that the task needs")
	cmd.Flags().StringVar(&f.python, "python", "", "version of Python, as 3.12 (default the node's)")
	cmd.Flags().StringVar(&f.manager, "manager", "", "package manager: pip, uv, conda, poetry or auto (default the node's)")
	cmd.Flags().BoolVar(&f.literal, "literal", false, "send the text of the script alone, without its checkout")
	cmd.Flags().BoolVar(&f.wait, "wait", false, "follow the task and exit as it does")
	return cmd
}

// splitArgs tells the script from the task's own arguments, which stand behind
// the two dashes; dash is -1 where there are none.
func splitArgs(f submitFlags, args []string, dash int) (script string, rest []string, err error) {
	before := args
	if dash >= 0 {
		before, rest = args[:dash], args[dash:]
	}
	switch {
	case f.module != "" && len(before) > 0:
		return "", nil, usagef("-m %s and the script %s: name one; arguments of the task stand behind --", f.module, before[0])
	case f.module != "" && f.literal:
		return "", nil, usagef("--literal sends a script, not a module")
	case f.module != "":
		return "", rest, nil
	case len(before) == 0:
		return "", nil, usagef("name a script, or a module with -m")
	case len(before) > 1:
		return "", nil, usagef("%s: arguments of the task stand behind --, as `agentctl submit %s -- %s`", before[1], before[0], before[1])
	}
	return before[0], rest, nil
}

func (a *app) submit(ctx context.Context, f submitFlags, script string, args []string) error {
	code, err := a.code(ctx, f, script, args)
	if err != nil {
		return err
	}
	for _, note := range code.notes {
		a.say("%s", note)
	}
	way, snap, err := a.submitWay(ctx)
	if err != nil {
		return err
	}
	defer way.Client.Close()
	queue := f.queue
	if queue == "" {
		queue = firstQueue(snap)
	}
	id, err := enqueue(ctx, way, code, queue, f)
	if err != nil {
		return err
	}
	if !f.wait {
		a.say("enqueued in %s; follow it with `agentctl logs -f %s`", queue, id)
		_, err = fmt.Fprintln(a.Stdout, id)
		return err
	}
	a.say("task %s is enqueued in %s", id, queue)
	return a.awaitEnd(ctx, way.Client, id)
}

// submitWay is the way to the node's server; without an agent, to the embedded
// server if it runs. The snapshot may be nil.
func (a *app) submitWay(ctx context.Context) (worker.Conn, *reconcile.Snapshot, error) {
	c := a.client()
	defer c.Close()
	snap, err := c.Status(ctx)
	if errors.Is(err, control.ErrNoAgent) {
		way, werr := a.wayTo(ctx, spec.Server{}, filepath.Join(a.state, "server"))
		if werr != nil {
			return way, nil, err
		}
		a.say("no agent runs here: the task waits for one")
		return way, nil, nil
	}
	if err != nil {
		return worker.Conn{}, nil, err
	}
	way, err := a.nodeServer(ctx, c, snap)
	return way, snap, err
}

func firstQueue(snap *reconcile.Snapshot) string {
	if snap != nil {
		for _, w := range snap.Workers {
			if len(w.Spec.Queues) > 0 {
				return w.Spec.Queues[0]
			}
		}
	}
	return "default"
}

func enqueue(ctx context.Context, way worker.Conn, code code, queue string, f submitFlags) (string, error) {
	client := way.Client
	queueID, err := resolveQueue(ctx, way, queue)
	if err != nil {
		return "", err
	}
	todo := clearml.NewTask{Name: nameOf(f.name, code.name), Type: "training", Script: code.script, Hyperparams: f.choice()}
	if todo.Project, err = client.ProjectID(ctx, either(f.project, code.project)); err != nil {
		return "", err
	}
	id, err := client.CreateTask(ctx, todo)
	if err != nil {
		return "", fmt.Errorf("cannot create the task: %w", err)
	}
	if err := client.Enqueue(ctx, id, queueID, "submitted by agentctl", false); err != nil {
		return "", fmt.Errorf("cannot enqueue the task %s: %w", id, err)
	}
	return id, nil
}

// choice is how the task itself says how its environment is to be made. The version
// of Python is said by the task's binary as well, for other agents.
func (f submitFlags) choice() map[string]map[string]clearml.Param {
	var params map[string]map[string]clearml.Param
	for name, value := range map[string]string{worker.ChoiceManager: f.manager, worker.ChoicePython: f.python} {
		if value != "" {
			params = worker.Chosen(params, name, value)
		}
	}
	return params
}

// resolveQueue finds the id of a queue by its name.
func resolveQueue(ctx context.Context, way worker.Conn, queue string) (string, error) {
	id, err := way.Client.ResolveQueue(ctx, queue, way.Embedded)
	if errors.Is(err, clearml.ErrNotFound) {
		return "", fmt.Errorf("the server has no queue %q; create it there, or name another with --queue", queue)
	}
	return id, err
}

func either(first, second string) string {
	if first != "" {
		return first
	}
	return second
}

// nameOf gives a task's name, for which the protocol wants three characters.
func nameOf(given, script string) string {
	name := either(given, script)
	if len([]rune(name)) < 3 {
		name = "task " + name
	}
	return name
}
