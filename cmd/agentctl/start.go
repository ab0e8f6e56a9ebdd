package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"agentctl/control"
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
		args = append(args, "--idle-timeout", f.idle.String())
	}
	for _, label := range f.labels {
		args = append(args, "--label", label)
	}
	if a.verbose {
		args = append(args, "--verbose")
	}
	exited, err := spawn(logPath, self, args...)
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

// ensureNode has an agent run here, by a spec without workers if it has none.
func (a *app) ensureNode(ctx context.Context, c *control.Client, f agentFlags) error {
	f.idle = idleExecutor
	if err := a.ensureAgent(ctx, c, f); err != nil {
		return err
	}
	agent, err := c.Agent(ctx)
	if err != nil || agent.Source.Kind != "" {
		return err
	}
	text := "apiVersion: " + spec.APIVersion + "\nkind: " + spec.KindNode + "\nspec: {workers: []}\n"
	_, err = c.Apply(ctx, control.ApplyRequest{File: "agentctl execute", Text: []byte(text), AllowEmpty: true})
	return err
}
