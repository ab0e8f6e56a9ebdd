//go:build bench

package bench

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"agentctl/control"
	"agentctl/reconcile"
	"agentctl/test/bench/chart"
	"agentctl/test/e2e/harness"
)

var (
	renames   = flag.Int("renames", 100, "files that are renamed into place one by one")
	storm     = flag.Duration("storm", 10*time.Second, "length of the storm of edits")
	revisions = flag.Int("revisions", 10000, "specs that are applied to look at the memory")
)

// editsPerSecond is the rate of the storm.
const editsPerSecond = 200

var errSeen = errors.New("seen")

// spec number i of a node; each differs from the one before it.
func numbered(i int) string {
	return fmt.Sprintf("apiVersion: agentctl/v1\nkind: Node\nmetadata: {name: bench}\nspec:\n  workers: [{name: w, queues: [default], mode: venv, count: 2, maxRuntime: %ds}]\n", i+1)
}

// TestReconcile measures from a file that is renamed into place to its plan carried out,
// alone and in a storm of edits, and the memory over many revisions.
func TestReconcile(t *testing.T) {
	n := harness.New(t)
	n.StartAgent()
	n.Apply(numbered(0))
	c := control.NewClient(n.Socket)
	defer c.Close()
	seen := 1
	var alone []time.Duration
	for range *renames {
		alone = append(alone, converges(t, n, c, seen, func() {}))
		seen++
	}
	fmt.Printf("renamed → plan carried out: %s, p99 %s\n", spread(alone), ms(chart.Quantile(alone, 0.99)))

	var last []time.Duration
	for range 5 {
		last = append(last, converges(t, n, c, seen+int(*storm/5/time.Second)*editsPerSecond, func() {
			tick := time.NewTicker(time.Second / editsPerSecond)
			defer tick.Stop()
			for i := range int(*storm/5/time.Second) * editsPerSecond {
				<-tick.C
				n.WriteFile(numbered(seen + i))
			}
		}))
		seen += int(*storm/5/time.Second)*editsPerSecond + 1
	}
	fmt.Printf("the last of %d edits a second → plan carried out: %s\n", editsPerSecond, spread(last))

	before := rss(n.AgentPID())
	began := time.Now()
	for i := range *revisions {
		r := control.ApplyRequest{File: "bench", Text: []byte(numbered(seen + i))}
		if _, err := c.Apply(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if i == *revisions/10 { // the heap has found its size by then
			before = rss(n.AgentPID())
		}
	}
	took := time.Since(began)
	fmt.Printf("%d revisions applied in %s (%s each): resident %d MB after a tenth of them, %d MB in the end\n",
		*revisions, took.Round(time.Second), ms(took/time.Duration(*revisions)), before>>20, rss(n.AgentPID())>>20)
}

// converges times from the renaming of spec number i, after before, until its plan is
// carried out.
func converges(t *testing.T, n *harness.Node, c *control.Client, i int, before func()) time.Duration {
	t.Helper()
	text := numbered(i)
	want := reconcile.Digest([]byte(text))
	if err := os.WriteFile(n.File+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { // ends with the watch
		first := true
		done <- c.Watch(ctx, func(s *reconcile.Snapshot) error {
			if first {
				close(ready)
				first = false
			}
			if s.LastApplied.Digest == want && s.ObservedGeneration == s.Generation && s.Plan.Converged() {
				return errSeen
			}
			return nil
		})
	}()
	<-ready
	before()
	began := time.Now()
	if err := os.Rename(n.File+".new", n.File); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, errSeen) {
		t.Fatal(err)
	}
	return time.Since(began)
}

// rss is what a process has in memory.
func rss(pid int) int64 {
	var size, resident int64
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	_, _ = fmt.Sscan(string(data), &size, &resident)
	return resident * int64(os.Getpagesize())
}
