package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"agentctl/control"
	"agentctl/migrate"
	"agentctl/spec"
)

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
	// Users of tasks pass through it to their environments; nobody lists it.
	if err := os.MkdirAll(a.state, 0o711); err != nil {
		return fmt.Errorf("cannot start the agent: %w", err)
	}
	logPath := filepath.Join(a.state, "agent.log")
	args := []string{"agent", "--state", a.state, "--socket", a.socket, "--server-listen", f.serverListen}
	if f.name != "" {
		args = append(args, "--node-name", f.name)
	}
	if f.idle > 0 {
		args = append(args, "--idle-timeout", f.idle.String(), "--"+startedForTasks)
	}
	for _, label := range f.labels {
		args = append(args, "--label", label)
	}
	if a.verbose {
		args = append(args, "--verbose")
	}
	exited, err := spawn(logPath, f.environ, self, args...)
	if err != nil {
		return fmt.Errorf("cannot start the agent: %w", err)
	}
	a.say("no agent was running here: started one, its log is %s", logPath)
	return a.answers(ctx, c, exited, logPath)
}

// answers waits until the agent that was started answers. It may take a while:
// it probes the host and takes up the tasks of an earlier agent first.
func (a *app) answers(ctx context.Context, c *control.Client, exited <-chan struct{}, logPath string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("the agent does not answer after %s; see %s", startTimeout, logPath))
	defer cancel()
	for {
		_, err := c.Agent(ctx)
		if !errors.Is(err, control.ErrNoAgent) {
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

// idleExecutor is how long an agent stays that was started for one task.
const idleExecutor = 10 * time.Minute

// ensureNode has an agent run here that takes tasks. One that is started for this gets
// the server of clearml.conf and of the CLEARML_ variables, as a daemon's does, and no
// workers.
func (a *app) ensureNode(ctx context.Context, c *control.Client, f agentFlags, config string) error {
	f.idle = idleExecutor
	d := &daemonRun{app: a, config: config, agent: f, command: "agentctl execute"}
	if who, err := c.Agent(ctx); err == nil && !d.blank(ctx, c, who) {
		return nil
	}
	conf, err := d.configuration(ctx)
	if err != nil {
		return err
	}
	all, err := migrate.Node(conf, d.variables(), migrate.Options{Path: d.secretFile})
	if err != nil {
		return fmt.Errorf("cannot start an agent by the configuration of clearml-agent: %w", err)
	}
	all.Node.Spec.Workers = []spec.WorkerSpec{}
	done, err := d.oneAtATime(ctx)
	if err != nil {
		return err
	}
	defer done()
	_, err = d.ready(ctx, c, &wantedWorkers{base: all.Node, secrets: all.Secrets})
	return err
}
