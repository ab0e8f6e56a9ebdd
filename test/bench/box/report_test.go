//go:build bench

package box

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"agentctl/test/bench/chart"
)

// columns are the measured times, with the percentiles that tell of each.
var columns = []struct {
	title string
	times func(*result) []time.Duration
}{
	{"/bin/true, start → end", func(r *result) []time.Duration { return r.truth }},
	{"Python, start → first line", func(r *result) []time.Duration { return r.first }},
}

// report prints what was measured. Ratios are of medians; those of this table that
// travel are the ones to crun, which is the fastest with the same work.
func report(all []contestant, results map[string]*result) {
	fmt.Printf("\n%s\n", machine())
	fmt.Printf("\n| n = %d, ms: p5 / p50 / p95", *rounds)
	for _, c := range columns {
		fmt.Printf(" | %s | of crun | of docker", c.title)
	}
	fmt.Printf(" |\n|---%s|\n", strings.Repeat("|---", 3*len(columns)))
	for _, c := range all {
		fmt.Printf("| %s", c.name)
		for _, col := range columns {
			times := col.times(results[c.name])
			fmt.Printf(" | %s / **%s** / %s | %s | %s", ms(chart.Quantile(times, 0.05)), ms(chart.Quantile(times, 0.5)), ms(chart.Quantile(times, 0.95)),
				ratio(times, results["crun"], col.times), ratio(times, results["docker"], col.times))
		}
		fmt.Println(" |")
	}
	memoryReport(all, results)
}

func memoryReport(all []contestant, results map[string]*result) {
	fmt.Printf("\n| memory, MB | each of %d idle (PSS) | of which (private, resident) | daemons | %d at once: all have printed | their processes (PSS) | available memory lost |\n|---|---|---|---|---|---|---|\n", *idle, *many)
	for _, c := range all {
		r := results[c.name]
		took := "-"
		if r.many > 0 {
			took = chart.Short(r.many)
		}
		fmt.Printf("| %s | %s | %s | %s | %s | %s | %s |\n", c.name, mb(sum(r.memory)/int64(*idle)), byName(r.memory), mb(sum(r.daemons)), took, mb(r.manyMemory), mb(r.manyLost))
	}
}

func ratio(times []time.Duration, to *result, of func(*result) []time.Duration) string {
	if to == nil || len(of(to)) == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f×", chart.Quantile(times, 0.5).Seconds()/chart.Quantile(of(to), 0.5).Seconds())
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000) }

func mb(bytes int64) string { return fmt.Sprintf("%.1f", float64(bytes)/(1<<20)) }

// byName is the share and, in brackets, the private and the resident memory of each of the programs
// that keep one sandbox.
func byName(all []process) string {
	type share struct{ pss, private, rss int64 }
	shares := map[string]share{}
	var names []string
	for _, p := range all {
		if !slices.Contains(names, p.name) {
			names = append(names, p.name)
		}
		s := shares[p.name]
		shares[p.name] = share{s.pss + p.pss, s.private + p.private, s.rss + p.rss}
	}
	var parts []string
	for _, n := range names {
		parts = append(parts, fmt.Sprintf("%s %s (%s, %s)", n, mb(shares[n].pss/int64(*idle)), mb(shares[n].private/int64(*idle)), mb(shares[n].rss/int64(*idle))))
	}
	return strings.Join(parts, ", ")
}
