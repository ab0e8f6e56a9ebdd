//go:build bench

package bench

import (
	"flag"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"agentctl/test/bench/chart"
	"agentctl/test/e2e/harness"
	"agentctl/test/imagekit"
)

var boxed = flag.Int("boxed", 20, "warm runs of each mode")

// benchBox has a worker for each way to run a task: on the host, in a sandbox of the
// host's file system, and in one of an image.
const benchBox = `apiVersion: agentctl/v1
kind: Node
metadata: {name: bench}
spec:
  workers:
    - {name: venv, queues: [venv], mode: venv}
    - {name: host, queues: [host], mode: sandbox, image: host}
    - {name: image, queues: [image], mode: sandbox, image: %q}
  packageManager: {python: {onMissing: nearest}}
  cache: {minFree: 500Mi}
  sandbox: {registries: [{name: %q, insecure: true}], createAhead: %v}
`

// TestSandboxes measures from the enqueueing of a task to its first line, turn and
// turn about: on the host, in sandboxes that are made for it, and in ones that wait.
func TestSandboxes(t *testing.T) {
	r := imagekit.Serve(t, &imagekit.Registry{})
	ref := r.Push(t, "kit/debian:1", imagekit.Debian(t))
	n := harness.New(t)
	n.StartAgent()
	job, took := newJob(n), map[string][]time.Duration{}
	measure := func(ahead bool, modes ...string) {
		n.Apply(fmt.Sprintf(benchBox, ref, r.Host(), ahead))
		for _, mode := range modes {
			name := mode
			if ahead {
				name += ", made ahead"
				waitSpares(n, 2)
			}
			took[name] = append(took[name], job.firstLine(mode))
		}
	}
	rows := []string{"venv", "host", "image"}
	measure(false, rows...)
	for _, mode := range rows {
		fmt.Printf("the first time, %s: %s\n", mode, chart.Short(took[mode][0]))
	}
	clear(took)
	for range *boxed {
		measure(false, rows...)
		measure(true, rows[1:]...)
	}
	fmt.Printf("\n| enqueue → first line, n = %d | p5 | p50 | p95 |\n|---|---|---|---|\n", *boxed)
	for _, row := range []string{"venv", "host", "host, made ahead", "image", "image, made ahead"} {
		fmt.Printf("| %s | %s | %s | %s |\n", row, chart.Short(chart.Quantile(took[row], 0.05)), chart.Short(chart.Quantile(took[row], 0.5)), chart.Short(chart.Quantile(took[row], 0.95)))
	}
}

// waitSpares waits until as many sandboxes wait for tasks, and the machine is quiet.
func waitSpares(n *harness.Node, want int) {
	n.T.Helper()
	harness.Eventually(n.T, harness.Patience, "sandboxes to wait", func() string {
		if made, _ := filepath.Glob(filepath.Join(n.State, "spares", "*", "handle.json")); len(made) != want {
			return fmt.Sprintf("%d wait", len(made))
		}
		return ""
	})
	time.Sleep(100 * time.Millisecond)
}
