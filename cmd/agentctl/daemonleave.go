package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"agentctl/control"
	"agentctl/reconcile"
	"agentctl/spec"
)

// lastLines is how long the console of a task that has ended is waited for.
const lastLines = 10 * time.Second

// leave takes the workers away. ctx is that of their consoles, which the signal does
// not end.
func (f *follower) leave(ctx context.Context) error {
	select { // the signal that ended the command
	case <-f.signals:
	case <-time.After(100 * time.Millisecond):
	}
	asked, cancel := context.WithTimeout(ctx, answerTime) // a signal does not end it
	r, err := f.c.Withdraw(asked, control.WithdrawRequest{ID: f.what.ID})
	cancel()
	var refused *control.Error
	if errors.As(err, &refused) && refused.Code == control.CodeNotFound {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the worker %s stays: %w", f.what.ID, err)
	}
	ctx, cancel = context.WithCancel(ctx)
	defer cancel()
	f.following.Go(func() {
		select {
		case <-ctx.Done():
		case <-f.signals:
			f.say("a second signal: the task of the worker is ended")
			f.force(ctx, r.Groups)
		}
	})
	err = f.untilGone(ctx, f.c, r)
	cancel()
	if err == nil { // the last lines of the console are still on their way
		defer time.AfterFunc(lastLines, f.hide).Stop()
		f.following.Wait()
	}
	return err
}

// force ends the tasks of groups of workers.
func (d *daemonRun) force(ctx context.Context, groups []string) {
	c := d.client()
	defer c.Close()
	for _, g := range groups {
		_, err := c.Order(ctx, control.OrderRequest{Worker: g, Policy: spec.DrainStop, Force: true, Reason: "agentctl daemon was told to end at once"})
		var refused *control.Error
		if err != nil && ctx.Err() == nil && !(errors.As(err, &refused) && refused.Code == control.CodeNotFound) {
			d.say("the task of %s can't be ended: %s", g, err)
		}
	}
}

// untilGone waits until no worker of the groups is left.
func (d *daemonRun) untilGone(ctx context.Context, c *control.Client, r control.WithdrawReply) error {
	said := ""
	err := c.Watch(ctx, func(s *reconcile.Snapshot) error {
		var left []string
		for _, w := range s.Workers {
			if slices.Contains(r.Groups, w.Spec.Group) {
				left = append(left, strings.TrimSpace(w.Spec.ID+" "+taskOf(w).ID))
			}
		}
		if len(left) == 0 && s.ObservedGeneration >= r.Generation {
			return errReached
		}
		if now := strings.Join(left, ", "); now != said && now != "" {
			said = now
			d.say("waiting for the end of %s", now)
		}
		return nil
	})
	if errors.Is(err, errReached) {
		d.say("removed: %s", strings.Join(r.Groups, ", "))
		return nil
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &exitError{exitTimeout, fmt.Errorf("still there, and removed when its task ends: %s", said)}
	}
	return err
}
