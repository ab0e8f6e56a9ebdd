package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"agentctl/clearml"
	"agentctl/test/bench/chart"
)

// Lines of a console that the store is filled with, and of one batch.
const (
	consoleLines = 20_000
	fillBatch    = 2000
)

// filling is how much of the store's filling is there.
type filling struct {
	tasks, lines int
	ids          []string
}

// grow fills the store up to so many tasks, and console lines of some of them.
func (b *bench) grow(ctx context.Context, have *filling, tasks, lines int) error {
	began, missing := len(have.ids), max(tasks, (lines+consoleLines-1)/consoleLines)-len(have.ids)
	have.ids = append(have.ids, make([]string, max(0, missing))...)
	t, err := b.repeat(ctx, 32, max(0, missing), func(ctx context.Context, i int) (err error) {
		have.ids[began+i], err = b.client.CreateTask(ctx, clearml.NewTask{Name: fmt.Sprint("filling ", began+i), Type: "training"})
		return err
	})
	if err != nil {
		return err
	}
	have.tasks = len(have.ids)
	fmt.Printf("\nfilled up to %d tasks in %s\n", have.tasks, chart.Short(t.all))
	first := have.lines / fillBatch
	t, err = b.repeat(ctx, 8, max(0, lines/fillBatch-first), func(ctx context.Context, i int) error {
		// One console after the other, as tasks run one after the other.
		i += first
		console, part := i*fillBatch/consoleLines, i%(consoleLines/fillBatch)
		return b.client.AddEvents(ctx, hundred(have.ids[console], int64(part*fillBatch), fillBatch))
	})
	if err != nil {
		return err
	}
	have.lines = lines
	fmt.Printf("filled up to %d console lines in %s\n", lines, chart.Short(t.all))
	var size int64
	for _, name := range []string{"server.db", "server.db-wal"} {
		if info, err := os.Stat(filepath.Join(b.dir, name)); err == nil {
			size += info.Size()
		}
	}
	fmt.Printf("the store has %.0f MB\n", float64(size)/(1<<20))
	return nil
}

// steps are the parts of the filling at which is measured.
var steps = []float64{0, 0.25, 0.5, 1}

// growth measures an empty store, and again as it is filled.
func (b *bench) growth(ctx context.Context, tasks, lines int, plot string) error {
	if tasks == 0 && lines == 0 {
		return b.all(ctx, "empty store")
	}
	var have filling
	var sizes []int
	var done [][]result
	for _, step := range steps {
		if step > 0 {
			if err := b.grow(ctx, &have, int(step*float64(tasks)), int(step*float64(lines))); err != nil {
				return err
			}
		}
		store := fmt.Sprintf("store of %d tasks and %d console lines", have.tasks, have.lines)
		measure := b.all
		if step > 0 && step < 1 {
			measure = b.requests // what an idle server costs is measured at both ends
		}
		if err := measure(ctx, store); err != nil {
			return err
		}
		sizes, done = append(sizes, have.tasks), append(done, b.done)
	}
	small, large := done[0], done[len(done)-1]
	fmt.Printf("\n%-44s %9s %9s\n", "large store / empty store", "p50", "p99")
	panels := make([]chart.Panel, len(small))
	for i, before := range small {
		after := large[i]
		fmt.Printf("%-44s %9.2f %9.2f\n", before.name, ms(after.each, 0.5)/ms(before.each, 0.5), ms(after.each, 0.99)/ms(before.each, 0.99))
		panels[i].Label = before.name
		for _, stage := range done {
			panels[i].Times = append(panels[i].Times, chart.Quantile(stage[i].each, 0.5))
		}
	}
	if plot == "" {
		return nil
	}
	title := fmt.Sprintf("Median times by tasks in the store, with %d console lines each; dashed: twice that of an empty store", lines/max(1, tasks))
	return os.WriteFile(plot, []byte(chart.Growth(title, sizes, panels)), 0o600)
}
