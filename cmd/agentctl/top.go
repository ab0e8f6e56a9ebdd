package main

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"agentctl/control"

	"github.com/spf13/cobra"
)

// topRow is what a task used between two looks.
type topRow struct {
	control.Usage
	// CPUPercent is of one core; two busy cores are 200.
	CPUPercent float64 `json:"cpuPercent"`
}

func (a *app) topCmd() *cobra.Command {
	out := newOutput(asTable, asJSON, asYAML)
	every, once := 2*time.Second, false
	cmd := &cobra.Command{
		Use: "top", Short: "Show what running tasks use",
		Long: `Show what running tasks use: processors (100% is one core), memory with its peak
and its limit, and processes. On a terminal the table is shown anew every two
seconds; elsewhere, and with --once, it is printed once. A ~ before the memory
says that only the living processes could be asked.`,
		Example: "  agentctl top\n  agentctl top --once -o json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if every < 100*time.Millisecond {
				return usagef("--interval must be 100ms at least")
			}
			c := a.client()
			defer c.Close()
			t := top{app: a, client: c, out: out, every: every}
			if once || out.structured() || !terminal(a.Stdout) {
				return t.once(cmd.Context())
			}
			return t.follow(cmd.Context())
		},
	}
	out.flag(cmd)
	cmd.Flags().BoolVar(&once, "once", false, "print the table once")
	cmd.Flags().DurationVar(&every, "interval", every, "time between two looks")
	return cmd
}

// top shows what tasks use.
type top struct {
	*app
	client *control.Client
	out    *output
	every  time.Duration
	before map[string]control.Usage
}

// sample is how long one look by itself takes.
const sample = 500 * time.Millisecond

func (t *top) once(ctx context.Context) error {
	if _, err := t.look(ctx); err != nil {
		return err
	}
	if err := t.pause(ctx, min(t.every, sample)); err != nil {
		return err
	}
	rows, err := t.look(ctx)
	if err != nil {
		return err
	}
	if t.out.structured() {
		return t.out.write(t.Stdout, rows)
	}
	_, err = t.Stdout.Write(t.render(rows))
	return err
}

// follow draws over what it drew last, from the top of the screen, in one write: a
// screen that is cleared first flickers.
func (t *top) follow(ctx context.Context) error {
	wait := min(t.every, sample)
	for {
		rows, err := t.look(ctx)
		if err != nil {
			return err
		}
		page := bytes.ReplaceAll(t.render(rows), []byte("\n"), []byte("\x1b[K\n"))
		if _, err := t.Stdout.Write(append([]byte("\x1b[H"), append(page, "\x1b[J"...)...)); err != nil {
			return err
		}
		if err := t.pause(ctx, wait); err != nil {
			return err
		}
		wait = t.every
	}
}

func (t *top) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// look compares with the look before.
func (t *top) look(ctx context.Context) ([]topRow, error) {
	list, err := t.client.Usages(ctx)
	if err != nil {
		return nil, err
	}
	rows, now := []topRow{}, map[string]control.Usage{}
	for _, u := range list {
		row := topRow{Usage: u}
		was, ok := t.before[u.Task]
		if passed := u.Time.Sub(was.Time); ok && passed > 0 && u.CPU >= was.CPU {
			row.CPUPercent = 100 * float64(u.CPU-was.CPU) / float64(passed)
		}
		rows, now[u.Task] = append(rows, row), u
	}
	t.before = now
	return rows, nil
}

func (t *top) render(rows []topRow) []byte {
	var b bytes.Buffer
	cells := make([][]string, 0, len(rows))
	for _, r := range rows {
		memory := bytesOf(r.Memory)
		if !r.Exact {
			memory = "~" + memory
		}
		cells = append(cells, []string{
			r.Task, r.Worker, fmt.Sprintf("%.0f%%", r.CPUPercent), memory, some(r.Peak), some(r.Limit),
			fmt.Sprint(r.PIDs), age(r.Since, r.Time), cut(r.Name, 40),
		})
	}
	_ = table(&b, []string{"TASK", "WORKER", "CPU", "MEMORY", "PEAK", "LIMIT", "PROCESSES", "TIME", "NAME"}, cells) // a buffer takes all
	return b.Bytes()
}

// some is a number of bytes that may not be known.
func some(n int64) string {
	if n == 0 {
		return "-"
	}
	return bytesOf(n)
}
