//go:build bench

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"agentctl/test/bench/chart"
	"agentctl/test/e2e/harness"
)

// side is what was measured of one agent.
type side struct{ Warm, Cold []time.Duration }

// results is one run of the bench.
type results struct {
	Ours, Theirs         side
	Phases               []phase
	OursIdle, TheirsIdle cost
	Workers              int
}

// phase is a part of agentctl's way from the pop to the task's start.
type phase struct {
	Name string
	Took []time.Duration
}

// phases gathers the times that agentctl notes of its own warm tasks; the first
// task, which is cold, is left out.
func phases(n *harness.Node, tasks []string) (all []phase) {
	for _, task := range tasks[1:] {
		for _, span := range n.TaskStatus(task).Times {
			i := slices.IndexFunc(all, func(p phase) bool { return p.Name == span.Name })
			if i < 0 {
				i, all = len(all), append(all, phase{Name: span.Name})
			}
			all[i].Took = append(all[i].Took, span.Took)
		}
	}
	return all
}

func ms(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000)
}

func spread(times []time.Duration) string {
	if len(times) == 1 {
		return ms(times[0])
	}
	return fmt.Sprintf("%s (%s–%s, n = %d)", ms(chart.Quantile(times, 0.5)), ms(chart.Quantile(times, 0.05)), ms(chart.Quantile(times, 0.95)), len(times))
}

func ratio(theirs, ours []time.Duration) string {
	return fmt.Sprintf("%.0f×", float64(chart.Quantile(theirs, 0.5))/float64(chart.Quantile(ours, 0.5)))
}

// table is the run as Markdown.
func (r results) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| enqueue → first line of user code | agentctl | clearml-agent %s | ratio |\n|---|---|---|---|\n", harness.PeerVersion)
	fmt.Fprintf(&b, "| warm, median (p5–p95) | %s | %s | %s |\n", spread(r.Ours.Warm), spread(r.Theirs.Warm), ratio(r.Theirs.Warm, r.Ours.Warm))
	fmt.Fprintf(&b, "| cold, empty caches | %s | %s | %s |\n", spread(r.Ours.Cold), spread(r.Theirs.Cold), ratio(r.Theirs.Cold, r.Ours.Cold))
	if len(r.Phases) > 0 {
		b.WriteString("\n| agentctl's warm tasks, by phase | median (p5–p95) |\n|---|---|\n")
		for _, p := range r.Phases {
			fmt.Fprintf(&b, "| %s | %s |\n", p.Name, spread(p.Took))
		}
	}
	if r.Workers == 0 {
		return b.String()
	}
	fmt.Fprintf(&b, "\n| %d workers waiting | agentctl | clearml-agent %s |\n|---|---|---|\n", r.Workers, harness.PeerVersion)
	fmt.Fprintf(&b, "| processes | %d | %d |\n", r.OursIdle.Processes, r.TheirsIdle.Processes)
	fmt.Fprintf(&b, "| memory (RSS) | %.0f MB | %.0f MB |\n", float64(r.OursIdle.RSS)/1e6, float64(r.TheirsIdle.RSS)/1e6)
	fmt.Fprintf(&b, "| CPU, of one core | %.2f %% | %.2f %% |\n", r.OursIdle.CPU, r.TheirsIdle.CPU)
	fmt.Fprintf(&b, "| requests a minute | %.0f | %.0f |\n", r.OursIdle.Requests, r.TheirsIdle.Requests)
	return b.String()
}

// print prints what is known so far.
func (r results) print() { fmt.Printf("\n%s\n", r.table()) }

// write prints the table and writes it and the plot to .cache/bench.
func (r results) write(root string) error {
	r.print()
	table := r.table()
	folder := filepath.Join(root, ".cache", "bench")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "bench.md"), []byte(table), 0o644); err != nil {
		return err
	}
	plot := filepath.Join(folder, "bench.svg")
	if err := os.WriteFile(plot, []byte(r.plot()), 0o644); err != nil {
		return err
	}
	fmt.Println("plot:", plot)
	return nil
}
