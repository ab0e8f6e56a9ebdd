package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"agentctl/control"
	"agentctl/migrate"
	"agentctl/spec"

	"github.com/samber/lo"
)

// stopWorkers takes contributed workers away and waits until they are gone.
func (d *daemonRun) stopWorkers(ctx context.Context, c *control.Client) error {
	ids := d.ids
	if len(ids) == 0 {
		id, err := d.meant(ctx, c)
		if err != nil {
			return err
		}
		ids = []string{id}
	}
	var all control.WithdrawReply
	for _, id := range ids {
		r, err := c.Withdraw(ctx, control.WithdrawRequest{ID: id})
		if err != nil {
			return err
		}
		d.say("worker %s takes no further task", id)
		all.Groups, all.Generation = append(all.Groups, r.Groups...), max(all.Generation, r.Generation)
	}
	if d.timeout > 0 {
		var cancel func()
		ctx, cancel = context.WithTimeout(ctx, d.timeout)
		defer cancel()
	}
	return d.untilGone(ctx, c, all)
}

// meant is the worker that the other flags make, or, as with clearml-agent, the first of
// this machine where they say nothing of its GPUs.
func (d *daemonRun) meant(ctx context.Context, c *control.Client) (string, error) {
	list, err := c.Contributions(ctx)
	if err != nil {
		return "", err
	}
	conf, err := d.configuration(ctx) // which may name the machine, or the worker
	if err != nil {
		return "", err
	}
	all, err := migrate.Node(conf, d.variables(), migrate.Options{Path: d.secretFile})
	if err != nil {
		return "", fmt.Errorf("cannot tell which worker these flags mean, name it as --stop ID: %w", err)
	}
	w := &wantedWorkers{base: all.Node}
	if err := d.place(w, all.Node.Spec.Workers[0]); err != nil {
		return "", err
	}
	ids := lo.Map(list, func(c control.Contribution, _ int) string { return c.ID })
	slices.Sort(ids)
	for _, id := range ids {
		if id == w.id || w.slot && strings.HasPrefix(id, w.id+":") {
			return id, nil
		}
	}
	if len(ids) == 0 {
		return "", errors.New("no worker was added by `agentctl daemon`")
	}
	return "", fmt.Errorf("no worker was added with these flags; there are %s", strings.Join(ids, ", "))
}

// showStatus tells schedule and queues of contributed workers. Other than with
// clearml-agent the exit code is 0.
func (d *daemonRun) showStatus(ctx context.Context, c *control.Client) error {
	list, err := c.Contributions(ctx)
	if err != nil {
		return err
	}
	if len(list) == 0 {
		d.say("no worker was added by `agentctl daemon`")
		return nil
	}
	var rows [][]string
	for _, c := range list {
		for _, g := range c.Workers {
			schedule := strings.Join(lo.Map(g.Windows, func(w spec.Window, _ int) string { return w.Cron + " for " + w.For.String() }), "; ")
			rows = append(rows, []string{g.ID, strings.Join(g.Queues, ","), orWord(schedule, "always"), orWord(c.By, "-"), c.Since.Local().Format(time.DateTime)})
		}
	}
	return table(d.Stdout, []string{"WORKER", "QUEUES", "UPTIME", "BY", "SINCE"}, rows)
}

func orWord(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
