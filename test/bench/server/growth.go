package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"agentctl/clearml"
	"agentctl/test/bench/chart"
)

// Lines of a console that the store is filled with, and of one batch.
const (
	consoleLines = 20_000
	fillBatch    = 2000
)

// fill makes the store large: tasks, and console lines of some of them.
func (b *bench) fill(ctx context.Context, tasks, lines int) error {
	consoles := (lines + consoleLines - 1) / consoleLines
	ids := make([]string, max(tasks, consoles))
	t, err := b.repeat(ctx, 32, len(ids), func(ctx context.Context, i int) (err error) {
		ids[i], err = b.client.CreateTask(ctx, clearml.NewTask{Name: fmt.Sprint("filling ", i), Type: "training"})
		return err
	})
	if err != nil {
		return err
	}
	fmt.Printf("\nfilled with %d tasks in %s\n", len(ids), chart.Short(t.all))
	t, err = b.repeat(ctx, 8, lines/fillBatch, func(ctx context.Context, i int) error {
		// One console after the other, as tasks run one after the other.
		console, part := i*fillBatch/consoleLines, i%(consoleLines/fillBatch)
		return b.client.AddEvents(ctx, hundred(ids[console], int64(part*fillBatch), fillBatch))
	})
	if err != nil {
		return err
	}
	fmt.Printf("filled with %d console lines in %s\n", lines, chart.Short(t.all))
	var size int64
	for _, name := range []string{"server.db", "server.db-wal"} {
		if info, err := os.Stat(filepath.Join(b.dir, name)); err == nil {
			size += info.Size()
		}
	}
	fmt.Printf("the store has %.0f MB\n", float64(size)/(1<<20))
	return nil
}

// growth measures an empty store, fills it and measures again.
func (b *bench) growth(ctx context.Context, tasks, lines int, plot string) error {
	if err := b.all(ctx, "empty store"); err != nil {
		return err
	}
	if tasks == 0 && lines == 0 {
		return nil
	}
	small := b.done
	if err := b.fill(ctx, tasks, lines); err != nil {
		return err
	}
	if err := b.all(ctx, fmt.Sprintf("store of %d tasks and %d console lines", tasks, lines)); err != nil {
		return err
	}
	fmt.Printf("\n%-44s %9s %9s\n", "large store / empty store", "p50", "p99")
	var bars []chart.Bar
	for i, before := range small {
		after := b.done[i]
		fmt.Printf("%-44s %9.2f %9.2f\n", before.name, ms(after.each, 0.5)/ms(before.each, 0.5), ms(after.each, 0.99)/ms(before.each, 0.99))
		bars = append(bars, bar(before, "empty", "#88aadd"), bar(after, "large", "#dd8866"))
	}
	if plot == "" {
		return nil
	}
	return os.WriteFile(plot, []byte(chart.Plot("Requests on an empty store and on a large one", bars)), 0o600)
}

func bar(r result, store, colour string) chart.Bar {
	return chart.Bar{Label: r.name + ", " + store, Times: append([]time.Duration(nil), r.each...), Colour: colour}
}
