package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"agentctl/clearml"
	"agentctl/control"
	"agentctl/spec"

	"github.com/spf13/cobra"
)

// runFlags are those of a task that is run here and now, as clearml-agent has them.
func (f *executeFlags) runFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.clone, "clone", false, "run a copy of the task")
	cmd.Flags().BoolVar(&f.requireQueue, "require-queue", false, "refuse a task that waits in no queue")
	cmd.Flags().BoolVar(&f.force, "force", false, "take a task that the server holds to be in progress elsewhere")
	cmd.Flags().StringVar(&f.logFile, "log-file", "", "write the console to this file too")
	cmd.Flags().StringVar(&f.image, "docker", "", "run it in a sandbox of this image (default the node's; a task may name its own)")
	cmd.Flags().Lookup("docker").NoOptDefVal = " "
	cmd.Flags().StringVar(&f.gpus, "gpus", "", "GPUs of the task: all, none, or their numbers, as 0,1")
	cmd.Flags().BoolVar(&f.cpuOnly, "cpu-only", false, "no GPUs")
	cmd.Flags().CountVarP(&f.optimize, "optimize", "O", "optimise the task's Python, as its own -O")
	cmd.Flags().StringVar(&f.logLevel, "log-level", "", "level of the clearml SDK's own log: DEBUG, INFO, WARNING, ERROR or CRITICAL")
	cmd.Flags().BoolVar(&f.standalone, "standalone-mode", false, "clone and install nothing: what is here is used")
	configFlag(cmd, &f.config)
	cmd.Flags().BoolVar(&f.noMonitoring, "disable-monitoring", false, "makes no difference: a task's console and its end are always reported")
	cmd.Flags().BoolVar(&f.monitoring, "full-monitoring", false, "makes no difference, as above")
}

// configFlag is the configuration that an agent begins with which is started by a verb.
func configFlag(cmd *cobra.Command, to *string) {
	cmd.Flags().StringVar(to, "config-file", "", "configuration of clearml-agent, for an agent that is started by this (default ~/clearml.conf)")
}

// noGitFlags knows clearml-agent's flags of git logins, to say what takes their place.
func noGitFlags(cmd *cobra.Command) {
	for _, name := range []string{"git-user", "git-pass"} {
		cmd.Flags().String(name, "", "is refused: git logins are in the file spec.git.credentialsFile names, never on a command line")
	}
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if cmd.Flags().Changed("git-user") || cmd.Flags().Changed("git-pass") {
			return usagef("git logins are not taken from the command line, where everybody can read them; write them into the file that spec.git.credentialsFile names")
		}
		return run(cmd, args)
	}
}

// worker is what the flags make of the worker of the task.
func (f *executeFlags) worker(docker bool) (spec.WorkerSpec, error) {
	w := spec.WorkerSpec{PythonOptimize: min(f.optimize, 2), LogLevel: logLevel(f.logLevel), Standalone: f.standalone}
	if docker {
		w.Mode, w.Image = spec.ModeSandbox, strings.TrimSpace(f.image)
	}
	switch {
	case f.cpuOnly && f.gpus != "":
		return w, usagef("--gpus and --cpu-only exclude each other")
	case f.cpuOnly || f.gpus == "none":
		w.GPUs.Mode = spec.GPUsNone
	case f.gpus == "all":
		w.GPUs.Mode = spec.GPUsAll
	case f.gpus != "":
		w.GPUs = spec.GPURequest{Mode: spec.GPUsList, Devices: strings.Split(f.gpus, ",")}
	}
	return w, nil
}

// executeTask has the agent run a task and follows it.
func (a *app) executeTask(ctx context.Context, f executeFlags, w spec.WorkerSpec) error {
	to, done, err := a.consoleTo(f.logFile)
	if err != nil {
		return err
	}
	defer done()
	c := a.client()
	defer c.Close()
	if err := a.ensureNode(ctx, c, f.agent, f.config); err != nil {
		return err
	}
	snap, err := c.Status(ctx)
	if err != nil {
		return err
	}
	way, err := a.nodeServer(ctx, c, snap)
	if err != nil {
		return err
	}
	defer way.Client.Close()
	id := f.id
	if f.clone {
		if _, rank := ranked(w, os.LookupEnv); rank > 0 {
			return usagef("--clone makes one task for each rank; clone it before")
		}
		if id, err = cloneToRun(ctx, way.Client, f.id); err != nil {
			return err
		}
		a.say("task %s is a copy of %s", id, f.id)
	}
	w, rank := ranked(w, os.LookupEnv)
	if rank > 0 {
		a.say("rank %d: the task's status is that of rank 0", rank)
	}
	err = c.Execute(ctx, control.ExecuteRequest{Task: id, Worker: w, RequireQueue: f.requireQueue, Force: f.force, Rank: rank})
	if err != nil {
		return a.explained(err)
	}
	return a.seeOut(ctx, c, way.Client, id, to)
}

// consoleTo is where the console goes: to a file too, if there is one.
func (a *app) consoleTo(path string) (to io.Writer, done func(), err error) {
	if path == "" {
		return a.screen(), func() {}, nil
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("cannot write the console: %w", err)
	}
	return io.MultiWriter(a.screen(), file), func() { _ = file.Close() }, nil
}

func cloneToRun(ctx context.Context, client *clearml.Client, id string) (string, error) {
	task, err := client.Task(ctx, id)
	if errors.Is(err, clearml.ErrTaskGone) {
		return "", fmt.Errorf("the server has no task %s", id)
	}
	if err != nil {
		return "", err
	}
	if id, err = client.CloneTask(ctx, task.ID, "Clone Of "+task.Name); err != nil {
		return "", fmt.Errorf("cannot copy the task: %w", err)
	}
	return id, nil
}

// seeOut shows the console of a task until its end is reported, and gives its exit code.
// A signal stops the task.
func (a *app) seeOut(ctx context.Context, c *control.Client, client *clearml.Client, id string, to io.Writer) error {
	on := context.WithoutCancel(ctx)
	defer context.AfterFunc(ctx, func() {
		a.say("stopping the task %s", id)
		if _, err := c.StopTask(on, id); err != nil {
			a.say("%v", err)
		}
	})()
	if err := a.logs(on, c, &control.LogsRequest{Task: id, Follow: true}, to); err != nil {
		return err
	}
	for {
		t, err := client.Task(on, id)
		var away *clearml.Unreachable
		switch {
		case err == nil && over(t.Status):
			a.say("task %s: %s", t.Status, t.StatusReason)
			if code := a.taskCode(on, t); code != 0 {
				return &exitError{code: code}
			}
			return nil
		case err == nil && (t.Status == clearml.StatusQueued || t.Status == clearml.StatusCreated) && !a.holds(on, c, id):
			return fmt.Errorf("the task is %s again: %s", t.Status, t.StatusReason)
		case err != nil && !errors.As(err, &away):
			return err
		}
		time.Sleep(lookEvery)
	}
}

// holds tells whether a worker of the node has the task.
func (a *app) holds(ctx context.Context, c *control.Client, id string) bool {
	snap, err := c.Status(ctx)
	if err != nil {
		return false
	}
	for _, w := range snap.Workers {
		if w.Task != nil && w.Task.ID == id {
			return true
		}
	}
	return false
}
