package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"agentctl/reconcile"

	"github.com/spf13/cobra"
)

func (a *app) getTasks() *cobra.Command {
	type row = reconcile.TaskStatus
	return listCmd(a, kind[row]{
		use: "tasks", short: "Show the tasks that run here, and those that ended last", aliases: []string{"task"},
		example: "  agentctl get tasks\n  agentctl get tasks 3f2a -o json\n  agentctl get tasks -o wide --watch",
		name:    func(t row) string { return t.ID }, prefix: true,
		columns: []column[row]{
			{head: "TASK", cell: func(t row, _ time.Time) string { return t.ID }},
			{head: "NAME", cell: func(t row, _ time.Time) string { return cut(t.Name, 32) }},
			{head: "STATUS", cell: func(t row, _ time.Time) string { return taskState(t) }},
			{head: "WORKER", cell: func(t row, _ time.Time) string { return t.Worker }},
			{head: "QUEUE", cell: func(t row, _ time.Time) string { return t.Queue }},
			{head: "ENVIRONMENT", cell: func(t row, _ time.Time) string { return environment(t) }},
			{head: "PREPARED IN", cell: func(t row, _ time.Time) string { return span(phase(t, "prepare")) }},
			{head: "TOOK", cell: func(t row, now time.Time) string { return span(took(t, now)) }},
			{head: "AGE", cell: func(t row, now time.Time) string { return age(t.Leased, now) }},
			{head: "EXIT", wide: true, cell: func(t row, _ time.Time) string { return exitCode(t) }},
			{head: "PHASES", wide: true, cell: func(t row, _ time.Time) string { return phases(t) }},
			{head: "CONTAINMENT", wide: true, cell: func(t row, _ time.Time) string { return t.Containment }},
			{head: "COMMIT", wide: true, cell: func(t row, _ time.Time) string { return t.Commit[:min(len(t.Commit), 12)] }},
			{head: "REASON", wide: true, cell: func(t row, _ time.Time) string { return cut(t.Reason, 60) }},
		},
		follow: func(ctx context.Context, watching bool, see func([]row) error) error {
			return a.follow(ctx, watching, func(s *reconcile.Snapshot) error { return see(s.Tasks) })
		},
	})
}

// taskState is the status of a task that has ended, else the step it is at.
func taskState(t reconcile.TaskStatus) string {
	if !t.Ended.IsZero() || t.Phase == "" {
		return t.Status
	}
	switch {
	case t.Total > t.Done:
		return fmt.Sprintf("%s %.0f/%.0f MB", t.Phase, float64(t.Done)/1e6, float64(t.Total)/1e6)
	case t.Done > 0:
		return fmt.Sprintf("%s %.0f MB", t.Phase, float64(t.Done)/1e6)
	}
	return t.Phase
}

// environment is how a task got its environment, and from which package manager.
func environment(t reconcile.TaskStatus) string {
	if t.Manager == "" {
		return t.Environment
	}
	return t.Environment + " (" + t.Manager + ")"
}

// took is how long a task has had its worker.
func took(t reconcile.TaskStatus, now time.Time) time.Duration {
	switch {
	case t.Leased.IsZero():
		return 0
	case t.Ended.IsZero():
		return now.Sub(t.Leased)
	}
	return t.Ended.Sub(t.Leased)
}

func phase(t reconcile.TaskStatus, name string) time.Duration {
	for _, p := range t.Times {
		if p.Name == name {
			return p.Took
		}
	}
	return 0
}

func phases(t reconcile.TaskStatus) string {
	var parts []string
	for _, p := range t.Times {
		parts = append(parts, p.Name+" "+orDash(span(p.Took)))
	}
	return strings.Join(parts, ", ")
}

func exitCode(t reconcile.TaskStatus) string {
	if t.ExitCode == nil {
		return ""
	}
	return fmt.Sprint(*t.ExitCode)
}
