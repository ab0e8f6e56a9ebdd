package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"agentctl/clearml"
	"agentctl/reconcile"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
)

// queueRow is a queue of the server with the workers of this node that serve it.
type queueRow struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Tasks   []string `json:"tasks"`
	Workers []string `json:"workers"`
	// Oldest is when the task that is next was enqueued.
	Oldest time.Time `json:"oldest,omitzero"`
}

func (a *app) getQueues() *cobra.Command {
	type row = queueRow
	return listCmd(a, kind[row]{
		use: "queues", short: "Show the server's queues and which workers of this node serve them", aliases: []string{"queue"},
		example: "  agentctl get queues\n  agentctl get queues default -o json",
		name:    func(q row) string { return q.Name },
		columns: []column[row]{
			{head: "QUEUE", cell: func(q row, _ time.Time) string { return q.Name }},
			{head: "WAITING", cell: func(q row, _ time.Time) string { return fmt.Sprint(len(q.Tasks)) }},
			{head: "WORKERS", cell: func(q row, _ time.Time) string { return cut(strings.Join(q.Workers, ","), 60) }},
			{head: "OLDEST", cell: func(q row, now time.Time) string { return age(q.Oldest, now) }},
			{head: "ID", wide: true, cell: func(q row, _ time.Time) string { return q.ID }},
			{head: "NEXT", wide: true, cell: func(q row, _ time.Time) string { return strings.Join(q.Tasks[:min(1, len(q.Tasks))], "") }},
		},
		follow: func(ctx context.Context, watching bool, see func([]row) error) error {
			return poll(ctx, watching, func() error {
				rows, err := a.queues(ctx)
				if err != nil {
					return err
				}
				return see(rows)
			})
		},
	})
}

func (a *app) queues(ctx context.Context) ([]queueRow, error) {
	c := a.client()
	defer c.Close()
	snap, err := c.Status(ctx)
	if err != nil {
		return nil, err
	}
	way, err := a.nodeServer(ctx, c, snap)
	if err != nil {
		return nil, err
	}
	defer way.Client.Close()
	found, err := way.Client.ListQueues(ctx)
	if err != nil {
		return nil, err
	}
	rows := make([]queueRow, 0, len(found))
	for _, q := range found {
		row := queueRow{ID: q.ID, Name: q.Name, Tasks: q.Tasks(), Workers: serving(snap, q)}
		if len(q.Entries) > 0 {
			row.Oldest = q.Entries[0].Added.Time
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(x, y queueRow) int { return strings.Compare(x.Name, y.Name) })
	return rows, nil
}

// serving lists the workers that take tasks of q, which a spec names by name, in
// any case, or by id.
func serving(snap *reconcile.Snapshot, q clearml.Queue) []string {
	names := []string{}
	for _, w := range snap.Workers {
		if slices.ContainsFunc(w.Spec.Queues, func(s string) bool { return s == q.ID || strings.EqualFold(s, q.Name) }) {
			names = append(names, w.Name)
		}
	}
	return names
}

func bytesOf(n int64) string {
	return strings.ReplaceAll(humanize.IBytes(uint64(max(n, 0))), " ", "")
}
