//go:build bench

package bench

import (
	"flag"
	"fmt"
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
  sandbox: {registries: [{name: %q, insecure: true}]}
`

// TestSandboxes measures from the enqueueing of a task to its first line, turn and
// turn about.
func TestSandboxes(t *testing.T) {
	r := imagekit.Serve(t, &imagekit.Registry{})
	ref := r.Push(t, "kit/debian:1", imagekit.Debian(t))
	n := harness.New(t)
	n.StartAgent()
	n.Apply(fmt.Sprintf(benchBox, ref, r.Host()))
	job, modes := newJob(n), []string{"venv", "host", "image"}
	took := map[string][]time.Duration{}
	for _, mode := range modes {
		fmt.Printf("cold, %s: %s\n", mode, chart.Short(job.firstLine(mode)))
	}
	for range *boxed {
		for _, mode := range modes {
			took[mode] = append(took[mode], job.firstLine(mode))
		}
	}
	fmt.Printf("\n| enqueue → first line, n = %d | p5 | p50 | p95 |\n|---|---|---|---|\n", *boxed)
	for _, mode := range modes {
		fmt.Printf("| %s | %s | %s | %s |\n", mode, chart.Short(chart.Quantile(took[mode], 0.05)), chart.Short(chart.Quantile(took[mode], 0.5)), chart.Short(chart.Quantile(took[mode], 0.95)))
	}
}
