package main

import (
	"context"
	"errors"
	"fmt"

	"agentctl/clearml"
	"agentctl/worker"

	"github.com/spf13/cobra"
)

type executeFlags struct {
	id, queue, name string
	replay          bool

	clone, requireQueue, force bool
	logFile                    string
	image                      string
	gpus                       string
	cpuOnly, standalone        bool
	optimize                   int
	logLevel                   string
	noMonitoring, monitoring   bool
	agent                      agentFlags
	config                     string
}

func (a *app) executeCmd() *cobra.Command {
	var f executeFlags
	cmd := &cobra.Command{
		Use: "execute --id ID", Short: "Run one task here and now, whatever queue it waits in",
		Long: `Run one task on this node now, whatever queue it waits in, and exit as it does. Its
console goes to the standard output, and to its server as ever. The agent runs it, on
a worker of its own that goes with it; if none runs, one is started, which ends when it
has had nothing to do for 10 minutes. A signal stops the task; a second one ends the
verb at once, and the agent sees the task to its end.

With --replay a copy of the task is run as the task ran: with its commit and the lock
of its packages, from a queue. The lock is what an agent wrote to the task when it ran.
What was downloaded then is enough to build the environment again, without any index.
To end the wait leaves the copy alone.`,
		Example: "  agentctl execute --id 3f2a91c0\n  agentctl execute --id 3f2a91c0 --clone --docker python:3.12-slim\n  agentctl execute --id 3f2a91c0 --replay --queue gpu",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case f.id == "":
				return usagef("name the task with --id")
			case f.replay:
				return a.replay(cmd.Context(), f)
			case f.queue != "" || f.name != "":
				return usagef("--queue and --name are for --replay: without it no queue is asked")
			}
			w, err := f.worker(cmd.Flags().Changed("docker"))
			if err != nil {
				return err
			}
			return a.executeTask(cmd.Context(), f, w)
		},
	}
	cmd.Flags().StringVar(&f.id, "id", "", "id of the task")
	cmd.Flags().BoolVar(&f.replay, "replay", false, "build its environment from its lock")
	cmd.Flags().StringVar(&f.queue, "queue", "", "with --replay: queue of the copy (default the task's own)")
	cmd.Flags().StringVar(&f.name, "name", "", `with --replay: name of the copy (default "replay of" the task's)`)
	f.runFlags(cmd)
	a.agentOnlyFlags(cmd, &f.agent)
	noGitFlags(cmd)
	return cmd
}

func (a *app) replay(ctx context.Context, f executeFlags) error {
	way, snap, err := a.submitWay(ctx)
	if err != nil {
		return err
	}
	defer way.Client.Close()
	task, err := way.Client.Task(ctx, f.id)
	if errors.Is(err, clearml.ErrTaskGone) {
		return fmt.Errorf("the server has no task %s", f.id)
	}
	if err != nil {
		return err
	}
	if err := replayable(task); err != nil {
		return err
	}
	queue := task.Execution.Queue
	if f.queue != "" || queue == "" {
		if queue, err = resolveQueue(ctx, way, either(f.queue, firstQueue(snap))); err != nil {
			return err
		}
	}
	id, err := enqueueReplay(ctx, way.Client, task, nameOf(f.name, "replay of "+task.Name), queue)
	if err != nil {
		return err
	}
	a.say("task %s is a replay of %s, and is enqueued", id, task.ID)
	return a.awaitEnd(ctx, way.Client, id)
}

// replayable tells whether a task says enough of how it ran.
func replayable(task *clearml.Task) error {
	if _, err := worker.LockOf(task.Script.Requirements); err != nil {
		return fmt.Errorf("cannot replay the task %s: %w", task.ID, err)
	}
	if task.Script.Repository != "" && task.Script.VersionNum == "" {
		return fmt.Errorf("cannot replay the task %s: the commit that it ran with is not known", task.ID)
	}
	return nil
}

// enqueueReplay makes the copy. It says that it is one: without the lock it must
// not run.
func enqueueReplay(ctx context.Context, client *clearml.Client, task *clearml.Task, name, queue string) (string, error) {
	id, err := client.CloneTask(ctx, task.ID, name)
	if err != nil {
		return "", fmt.Errorf("cannot copy the task: %w", err)
	}
	params := worker.Chosen(task.Hyperparams, worker.ChoiceReplay, task.ID)
	// The task as it was read is what was checked: it may have changed since.
	err = client.EditTask(ctx, id, map[string]any{"script": task.Script, "hyperparams": params})
	if err != nil {
		return "", fmt.Errorf("cannot pin the copy %s: %w", id, err)
	}
	if err := client.Enqueue(ctx, id, queue, "replayed by agentctl", false); err != nil {
		return "", fmt.Errorf("cannot enqueue the task %s: %w", id, err)
	}
	return id, nil
}
