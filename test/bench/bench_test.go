//go:build bench

package bench

import (
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"agentctl/test/e2e/harness"
)

var (
	ours   = flag.Int("ours", 40, "warm runs of agentctl")
	theirs = flag.Int("theirs", 3, "warm runs of clearml-agent")
	idle   = flag.Duration("idle", time.Minute, "how long the waiting agents are watched")
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(harness.Main(m))
}

const bench = "apiVersion: agentctl/v1\nkind: Node\nmetadata: {name: bench}\nspec:\n  workers: [{name: w, queues: [ours], mode: venv}]\n"

// TestBench is the whole run. A number that is worse than the goal is no failure:
// machines differ. What fails is a task that does not run.
func TestBench(t *testing.T) {
	var r results
	n := harness.New(t)
	n.StartAgent()
	n.Apply(bench)
	job := newJob(n)

	fmt.Println("agentctl, cold …")
	r.Ours.Cold = []time.Duration{job.firstLine("ours")}
	fmt.Println("agentctl, warm …")
	for range *ours {
		r.Ours.Warm = append(r.Ours.Warm, job.firstLine("ours"))
	}
	r.Phases = phases(n, job.tasks)

	fmt.Println("clearml-agent, cold …")
	peer := startPeer(n, n.Endpoints().API, "theirs", 1)
	r.Theirs.Cold = []time.Duration{job.firstLine("theirs")}
	fmt.Println("clearml-agent, warm …")
	for range *theirs {
		r.Theirs.Warm = append(r.Theirs.Warm, job.firstLine("theirs"))
	}
	peer.stop()

	r.print()
	fmt.Println("both, waiting …")
	r.OursIdle, r.TheirsIdle = idleCosts(t, n)
	r.Workers = idleWorkers
	if err := r.write(harness.Root(t)); err != nil {
		t.Fatal(err)
	}
}
