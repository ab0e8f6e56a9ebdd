package main

import (
	"context"
	"errors"
	"io"
	"regexp"
	"strconv"
	"time"

	"agentctl/clearml"

	"golang.org/x/sys/unix"
)

// lookEvery is how often `submit --wait` looks at the server.
const lookEvery = 300 * time.Millisecond

// awaitEnd follows a task on the server, which may be run by any agent, and ends
// as the task does.
func (a *app) awaitEnd(ctx context.Context, client *clearml.Client, id string) error {
	t, err := a.followTask(ctx, client, id)
	if err != nil {
		if ctx.Err() != nil {
			a.say("the task goes on; see `agentctl logs -f %[1]s`, `agentctl stop %[1]s`", id)
		}
		return err
	}
	a.say("task %s: %s", t.Status, t.StatusReason)
	if code := a.taskCode(ctx, t); code != 0 {
		return &exitError{code: code}
	}
	return nil
}

// followTask shows the console until the task has ended.
func (a *app) followTask(ctx context.Context, client *clearml.Client, id string) (*clearml.Task, error) {
	c := consoleTail{client: client, id: id, to: a.screen()}
	var lost time.Time
	for {
		t, err := client.Task(ctx, id)
		if err == nil {
			err = c.more(ctx) // after the status: of a task that has ended all is there
		}
		var away *clearml.Unreachable
		switch {
		case err == nil && over(t.Status):
			return t, nil
		case err == nil:
			lost = time.Time{}
		case !errors.As(err, &away) || ctx.Err() != nil:
			return nil, err
		case lost.IsZero():
			lost = time.Now()
			a.say("%s", err)
		case time.Since(lost) > time.Minute:
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(lookEvery):
		}
	}
}

func over(status string) bool {
	switch status {
	case clearml.StatusCreated, clearml.StatusQueued, clearml.StatusInProgress, clearml.StatusUnknown:
		return false
	}
	return true
}

// consoleTail reads a task's console from the server.
type consoleTail struct {
	client *clearml.Client
	id     string
	to     io.Writer
	after  int64 // timestamp of the last event that was shown
}

// more shows what has come since the last time.
func (c *consoleTail) more(ctx context.Context) error {
	for {
		events, err := c.client.LogEventsAfter(ctx, c.id, c.after, 500)
		if err != nil || len(events) == 0 {
			return err
		}
		before := c.after
		for _, e := range events {
			if e.Timestamp <= before {
				continue
			}
			text := e.Msg
			if len(text) > 0 && text[len(text)-1] != '\n' {
				text += "\n"
			}
			if _, err := io.WriteString(c.to, text); err != nil {
				return err
			}
			c.after = max(c.after, e.Timestamp)
		}
		if c.after == before { // a server that gives the same again
			return nil
		}
	}
}

var (
	exitReason   = regexp.MustCompile(`exit code (\d{1,3})\b`)
	signalReason = regexp.MustCompile(`ended by signal (\w+)`)
)

// taskCode is the exit code of a task that has ended: as the node knows it, else
// as its agent told the server; 128 and the number for a signal, as a shell says.
func (a *app) taskCode(ctx context.Context, t *clearml.Task) int {
	switch t.Status {
	case clearml.StatusCompleted, clearml.StatusClosed, clearml.StatusPublished, clearml.StatusPublishing:
		return 0
	}
	c := a.client()
	defer c.Close()
	if snap, err := c.Status(ctx); err == nil {
		for _, own := range snap.Tasks {
			if own.ID == t.ID && own.ExitCode != nil && *own.ExitCode > 0 && *own.ExitCode < 256 {
				return *own.ExitCode
			}
		}
	}
	if m := exitReason.FindStringSubmatch(t.StatusReason); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil && n > 0 && n < 256 {
			return n
		}
	}
	if m := signalReason.FindStringSubmatch(t.StatusReason); m != nil {
		if n := unix.SignalNum(m[1]); n > 0 {
			return 128 + int(n)
		}
	}
	return exitFailed
}
