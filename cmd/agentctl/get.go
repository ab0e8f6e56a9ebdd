package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"agentctl/control"
	"agentctl/reconcile"
	"agentctl/spec"

	"github.com/spf13/cobra"
)

func (a *app) getCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use: "get", Short: "Show the node, its workers, tasks, queues, GPUs, environments or history",
		Long: `Show what the node is and does. -o wide has more columns; json, yaml and name are
for programs, with --watch one line (json) or document (yaml) for each change.`,
		Example: "  agentctl get workers\n  agentctl get tasks -o wide --watch\n  agentctl get node -o yaml",
	}
	cmd.AddCommand(a.getNode(), a.getWorkers(), a.getTasks(), a.getQueues(), a.getGPUs(), a.getEnvironments(), a.listHistory("agentctl get history"))
	return group(cmd)
}

// follow reads the agent's snapshot, once or whenever it changes.
func (a *app) follow(ctx context.Context, watching bool, see func(*reconcile.Snapshot) error) error {
	c := a.client()
	defer c.Close()
	if watching {
		return c.Watch(ctx, see)
	}
	s, err := c.Status(ctx)
	if err != nil {
		return err
	}
	return see(s)
}

// errNoSpec means that the agent has nothing to show the effective spec of.
var errNoSpec = errors.New("the node has no spec yet; give it one with agentctl apply")

func (a *app) getNode() *cobra.Command {
	return a.withRevision(listCmd(a, kind[*reconcile.Snapshot]{
		use: "node", short: "Show the node: conditions, source and revision of its spec", aliases: []string{"nodes"}, single: true,
		example: "  agentctl get node\n  agentctl get node -o yaml    # the spec in force, with every default\n  agentctl get node --revision 3 -o yaml    # as it was written",
		name:    nodeTitle,
		columns: []column[*reconcile.Snapshot]{
			{head: "NODE", cell: func(s *reconcile.Snapshot, _ time.Time) string { return nodeTitle(s) }},
			{head: "READY", cell: func(s *reconcile.Snapshot, _ time.Time) string { return state(s, reconcile.Ready) }},
			{head: "SPEC", cell: func(s *reconcile.Snapshot, _ time.Time) string { return state(s, reconcile.SpecAccepted) }},
			{head: "WORKERS", cell: func(s *reconcile.Snapshot, _ time.Time) string { return fmt.Sprint(len(s.Workers)) }},
			{head: "TASKS", cell: func(s *reconcile.Snapshot, _ time.Time) string { return fmt.Sprint(running(s)) }},
			{head: "REVISION", cell: func(s *reconcile.Snapshot, _ time.Time) string { return revision(s.LastApplied) }},
			{head: "SERVER", cell: func(s *reconcile.Snapshot, _ time.Time) string { return serverState(s.Server) }},
			{head: "AGE", cell: func(s *reconcile.Snapshot, now time.Time) string { return age(s.LastApplied.Time, now) }},
			{head: "SOURCE", wide: true, cell: func(s *reconcile.Snapshot, _ time.Time) string { return origin(s.LastApplied.Origin) }},
			{head: "MESSAGE", wide: true, cell: func(s *reconcile.Snapshot, _ time.Time) string { return trouble(s) }},
		},
		follow: func(ctx context.Context, watching bool, see func([]*reconcile.Snapshot) error) error {
			return a.follow(ctx, watching, func(s *reconcile.Snapshot) error { return see([]*reconcile.Snapshot{s}) })
		},
		yaml: func(s *reconcile.Snapshot) ([]byte, error) {
			if s.Node == nil {
				return nil, errNoSpec
			}
			return spec.Encode(s.Node)
		},
	}))
}

func nodeTitle(s *reconcile.Snapshot) string {
	if s.Node != nil && s.Node.Metadata.Name != "" {
		return s.Node.Metadata.Name
	}
	return s.Name
}

// state is a condition in one word: True, or why not.
func state(s *reconcile.Snapshot, kind string) string {
	c, ok := s.Condition(kind)
	switch {
	case !ok:
		return ""
	case c.Status == reconcile.True || c.Reason == "":
		return c.Status
	}
	return c.Status + " (" + c.Reason + ")"
}

// running counts the tasks that workers have now.
func running(s *reconcile.Snapshot) (n int) {
	for _, w := range s.Workers {
		if w.Task != nil {
			n++
		}
	}
	return n
}

func revision(r reconcile.Revision) string {
	if r.Digest == "" {
		return ""
	}
	return fmt.Sprintf("%d (%s)", r.Number, cut(r.Digest, 13))
}

func origin(o reconcile.Origin) string { return o.String() }

func serverState(s reconcile.ServerStatus) string {
	switch {
	case s.URL == "":
		return ""
	case s.Reachable:
		return s.URL
	}
	return s.URL + " (unreachable)"
}

// trouble says what is wrong with the node, most important first.
func trouble(s *reconcile.Snapshot) string {
	var parts []string
	for _, kind := range []string{reconcile.SpecAccepted, reconcile.Ready, reconcile.Stalled} { // Ready tells of a suspension
		c, ok := s.Condition(kind)
		bad := ok && (c.Status == reconcile.True) == (kind == reconcile.Stalled)
		if bad && c.Message != "" {
			parts = append(parts, c.Message)
		}
	}
	return cut(strings.Join(parts, "; "), 120)
}

func (a *app) getWorkers() *cobra.Command {
	type row = reconcile.WorkerStatus
	var from origins
	return listCmd(a, kind[row]{
		use: "workers", short: "Show the workers and what they do", aliases: []string{"worker"},
		example: "  agentctl get workers\n  agentctl get workers train/0 -o json\n  agentctl get workers --watch",
		name:    func(w row) string { return w.Name },
		columns: []column[row]{
			{head: "WORKER", cell: func(w row, _ time.Time) string { return w.Name }},
			{head: "STATE", cell: func(w row, _ time.Time) string { return workerState(w) }},
			{head: "TASK", cell: func(w row, _ time.Time) string { return taskOf(w).ID }},
			{head: "QUEUES", cell: func(w row, _ time.Time) string { return cut(strings.Join(w.Spec.Queues, ","), 40) }},
			{head: "AGE", cell: func(w row, now time.Time) string { return age(w.Since, now) }},
			{head: "MODE", wide: true, cell: func(w row, _ time.Time) string { return w.Spec.Mode }},
			{head: "USER", wide: true, cell: func(w row, _ time.Time) string { return w.Spec.RunAs }},
			{head: "ID", wide: true, cell: func(w row, _ time.Time) string { return w.Spec.ID }},
			{head: "ORIGIN", wide: true, cell: func(w row, _ time.Time) string { return from.of(w.Spec.Group) }},
			{head: "MESSAGE", cell: func(w row, _ time.Time) string { return cut(w.Message, 100) }},
		},
		follow: func(ctx context.Context, watching bool, see func([]row) error) error {
			c := a.client()
			defer c.Close()
			return a.follow(ctx, watching, func(s *reconcile.Snapshot) (err error) {
				if from, err = a.origins(ctx, c); err != nil {
					return err
				}
				return see(s.Workers)
			})
		},
	})
}

func workerState(w reconcile.WorkerStatus) string {
	s := string(w.State)
	switch {
	case w.Draining:
		s += ",draining"
	case !w.Cordoned():
	case w.Order.Policy == "":
		s += ",cordoned"
	case w.Task != nil:
		s += ",draining"
	default:
		s += ",drained"
	}
	return s
}

func taskOf(w reconcile.WorkerStatus) reconcile.TaskStatus {
	if w.Task == nil {
		return reconcile.TaskStatus{}
	}
	return *w.Task
}

func (a *app) getEnvironments() *cobra.Command {
	type row = control.Environment
	return listCmd(a, kind[row]{
		use: "environments", short: "Show the environments that are kept", aliases: []string{"environment", "envs", "env"},
		example: "  agentctl get environments\n  agentctl get environments -o json | jq '.[].packages'",
		name:    func(e row) string { return e.Key }, prefix: true,
		columns: environmentColumns(),
		follow: func(ctx context.Context, watching bool, see func([]row) error) error {
			c := a.client()
			defer c.Close()
			return poll(ctx, watching, func() error {
				list, err := c.Environments(ctx)
				if err != nil {
					return err
				}
				return see(list)
			})
		},
	})
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// pollEvery is how often --watch looks at what tells nobody of its changes.
const pollEvery = 2 * time.Second

// poll calls look, again and again if watching.
func poll(ctx context.Context, watching bool, look func() error) error {
	if err := look(); err != nil || !watching {
		return err
	}
	t := time.NewTicker(pollEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.C:
		}
		if err := look(); err != nil {
			return err
		}
	}
}
