package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/samber/lo"

	"agentctl/test/bench/chart"
)

// results holds all samples, in the order in which they came.
type results struct {
	rounds int
	rows   []row
}

// row is one thing of one contender with one set.
type row struct {
	set, contender, kind string
	samples              []sample
}

func (r *results) add(set, contender, kind string, s sample) {
	i := slices.IndexFunc(r.rows, func(x row) bool { return x.set == set && x.contender == contender && x.kind == kind })
	if i < 0 {
		i, r.rows = len(r.rows), append(r.rows, row{set: set, contender: contender, kind: kind})
	}
	r.rows[i].samples = append(r.rows[i].samples, s)
}

func (x row) walls() (all []time.Duration) {
	for _, s := range x.samples {
		all = append(all, s.wall)
	}
	return all
}

func (x row) wall() time.Duration { return chart.Quantile(x.walls(), 0.5) }

func (x row) cpu() time.Duration {
	var all []time.Duration
	for _, s := range x.samples {
		all = append(all, s.cpu)
	}
	return chart.Quantile(all, 0.5)
}

// peers are the rows that x is compared with: the manager alone, in all its ways, or
// for a hit clearml-agent.
func (r *results) peers(x row) []row {
	manager, own := strings.CutPrefix(x.contender, "agentctl/")
	if x.kind == "hit" {
		manager = "clearml-agent"
	}
	return lo.Filter(r.rows, func(y row, _ int) bool {
		return own && y.set == x.set && y.kind == x.kind && strings.HasPrefix(y.contender, manager)
	})
}

// beside tells how x compares with its peers.
func (r *results) beside(x row) string {
	return strings.Join(lo.Map(r.peers(x), func(y row, _ int) string {
		if x.kind == "hit" {
			return fmt.Sprintf("%.0f× faster than %s", float64(y.wall())/float64(x.wall()), y.contender)
		}
		return fmt.Sprintf("%.2f× %s (fastest %.2f×)", float64(x.wall())/float64(y.wall()), y.contender,
			float64(slices.Min(x.walls()))/float64(slices.Min(y.walls())))
	}), ", ")
}

// table is the run as Markdown.
func (r *results) table() string {
	var b strings.Builder
	b.WriteString("| set | what | contender | wall, median | fastest | CPU | written in process | beside its peer |\n|---|---|---|---|---|---|---|---|\n")
	for _, x := range r.rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %d B | %s |\n", x.set, x.kind, x.contender,
			chart.Short(x.wall()), chart.Short(slices.Min(x.walls())), chart.Short(x.cpu()), x.samples[len(x.samples)-1].written, r.beside(x))
	}
	return b.String()
}

func (r *results) write(out string) error {
	table := r.table()
	fmt.Print("\n" + table)
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(out, "env.md"), []byte(table), 0o644); err != nil {
		return err
	}
	var bars []chart.Bar
	for _, x := range r.rows {
		colour := "#bbbbbb"
		if strings.HasPrefix(x.contender, "agentctl") {
			colour = "#1f77b4"
		}
		bars = append(bars, chart.Bar{Label: x.set + ", " + x.kind + ", " + x.contender, Times: x.walls(), Colour: colour})
	}
	plot := filepath.Join(out, "env.svg")
	fmt.Println("plot:", plot)
	return os.WriteFile(plot, []byte(chart.Plot("environments (logarithmic)", bars)), 0o644)
}
