//go:build bench

package bench

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"agentctl/clearml"
	"agentctl/test/bench/chart"
	"agentctl/test/e2e/harness"
)

var (
	aheadRounds = flag.Int("ahead", 6, "environments that are built ahead, for each number of tasks")
	aheadWindow = flag.Duration("window", 15*time.Second, "how long a build ahead is watched")
)

// Small packages whose releases make each aheadSet another environment.
var (
	sixes = []string{"1.10.0", "1.11.0", "1.12.0", "1.13.0", "1.14.0", "1.15.0", "1.16.0", "1.17.0"}
	dates = []string{"2.8.2", "2.9.0.post0"}
)

// aheadSet is what is built ahead.
func aheadSet(round int) []string {
	return []string{
		"numpy==2.1.3", "pandas==2.2.3",
		"six==" + sixes[round%len(sixes)], "python-dateutil==" + dates[round/len(sixes)%len(dates)],
	}
}

// toil computes on one core for as long as it may, and tells in a file how far it
// got: rounds of work, and the CPU time that they took in ns.
const toil = `import mmap, struct, time
path = gate("NAME")
with open(path, "wb") as f: f.write(bytes(16))
with open(path, "r+b") as f, mmap.mmap(f.fileno(), 16) as m:
    done, table = 0, list(range(5000))
    while True:
        for i in range(5000): table[i] = (table[i] * 31 + i) & 0xffff
        done += 1
        m[:] = struct.pack("<QQ", done, time.process_time_ns())
`

// TestAhead measures what running tasks lose while the next one's environment is
// built: tasks on each core, and on half of them, compute, and times with a build
// and without one take turns, so that what else runs on the machine counts for both.
func TestAhead(t *testing.T) {
	n := harness.New(t)
	n.StartAgent()
	cores := goruntime.NumCPU()
	n.Apply(strings.Replace(bench, "queues: [ours]", fmt.Sprintf("queues: [ours], count: %d", cores), 1))
	for i := range sixes { // the downloads
		list := []string{"numpy==2.1.3", "pandas==2.2.3"}
		if i > 0 {
			list = aheadSet(i * 3)[2:]
		}
		task := n.Submit(harness.Script{Name: "downloads", Queue: "ours", Code: "print('ready')", Pip: list})
		n.WaitStatusFor(15*time.Minute, task, clearml.StatusCompleted)
	}
	round := 0
	for _, tasks := range slices.Compact([]int{cores, max(1, cores/2)}) {
		n.Apply(strings.Replace(bench, "queues: [ours]", fmt.Sprintf("queues: [ours], count: %d", tasks), 1))
		var running, files []string
		for i := range tasks {
			name := fmt.Sprint("toil-", tasks, "-", i)
			running = append(running, n.Submit(harness.Script{Name: "toil", Queue: "ours", Code: n.Code(strings.Replace(toil, "NAME", name, 1))}))
			n.WaitGate(name)
			files = append(files, n.Gate(name))
		}
		var rounds []pair
		for range *aheadRounds {
			rounds = append(rounds, watchAhead(n, files, round))
			round++
		}
		reportAhead(tasks, cores, rounds)
		for _, task := range running {
			n.Must("stop", task)
			n.WaitStatus(task, clearml.StatusStopped)
		}
	}
}

// pair is a time with a build, and one as long without.
type pair struct{ build, rest share }

func watchAhead(n *harness.Node, files []string, round int) (p pair) {
	n.T.Helper()
	task := n.Submit(harness.Script{Name: "next", Queue: "ours", Code: "print('never')", Pip: aheadSet(round)})
	building(n, true)
	began := look(n, files)
	for time.Since(began.at) < *aheadWindow && isBuilding(n) {
		time.Sleep(100 * time.Millisecond) // a measurement takes its time
	}
	ended := look(n, files)
	if err := n.Client().Dequeue(context.Background(), task, "", ""); err != nil {
		n.T.Fatal(err)
	}
	building(n, false)
	rest := look(n, files)
	time.Sleep(ended.at.Sub(began.at))
	return pair{began.until(ended), rest.until(look(n, files))}
}

func building(n *harness.Node, want bool) {
	n.T.Helper()
	harness.Eventually(n.T, 5*time.Minute, fmt.Sprint("building to be ", want), func() string {
		if isBuilding(n) != want {
			return "it is not"
		}
		return ""
	})
}

// isBuilding looks at files: a command of its own would be a load.
func isBuilding(n *harness.Node) bool {
	marks, err := filepath.Glob(filepath.Join(n.State, "envs", "*.partial"))
	if err != nil {
		n.T.Fatal(err)
	}
	return len(marks) > 0
}

// far is how far the tasks together are.
type far struct {
	at       time.Time
	work     float64       // rounds of the tasks
	cpu      time.Duration // of the tasks
	builders time.Duration // CPU time of what builds
}

func look(n *harness.Node, files []string) (f far) {
	n.T.Helper()
	f.builders = time.Duration(buildTicks(n)) * 10 * time.Millisecond
	f.at = time.Now()
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil || len(data) != 16 {
			n.T.Fatalf("%s: %d bytes, %v", name, len(data), err)
		}
		f.work += float64(binary.LittleEndian.Uint64(data))
		f.cpu += time.Duration(binary.LittleEndian.Uint64(data[8:]))
	}
	return f
}

// buildTicks is the CPU time of the programs that build, and of those that the
// agent has waited for; see proc(5) for the fields.
func buildTicks(n *harness.Node) (ticks int64) {
	fields := map[int][]int{n.AgentPID(): {13, 14}}
	for _, pid := range harness.Processes(filepath.Join(n.State, "envs", ".work-")) {
		fields[pid] = []int{11, 12, 13, 14}
	}
	for pid, which := range fields {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // gone, and counted with who waited for it
		}
		all := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		for _, i := range which {
			v, _ := strconv.ParseInt(all[i], 10, 64)
			ticks += v
		}
	}
	return ticks
}

// share is what the tasks got in a time.
type share struct {
	took     time.Duration
	speed    float64 // rounds a second
	each     float64 // rounds a CPU second
	cores    float64 // CPU seconds a second
	builders float64 // CPU seconds of the builders a second
}

func (a far) until(b far) share {
	took, work, cpu := b.at.Sub(a.at), b.work-a.work, (b.cpu - a.cpu).Seconds()
	s := took.Seconds()
	return share{took, work / s, work / cpu, cpu / s, (b.builders - a.builders).Seconds() / s}
}

// reportAhead prints each round, and what the tasks lost by the median.
func reportAhead(tasks, cores int, rounds []pair) {
	fmt.Printf("\n| %d tasks on %d cores | watched | speed of the tasks | their work per CPU time | their cores | the builders' cores |\n|---|---|---|---|---|---|\n", tasks, cores)
	var speed, each []float64
	for i, p := range rounds {
		speed, each = append(speed, p.build.speed/p.rest.speed), append(each, p.build.each/p.rest.each)
		fmt.Printf("| %d | %s | %.1f %% | %.1f %% | %.2f, else %.2f | %.2f, else %.2f |\n", i+1, chart.Short(p.build.took.Round(100*time.Millisecond)),
			100*speed[i], 100*each[i], p.build.cores, p.rest.cores, p.build.builders, p.rest.builders)
	}
	fmt.Printf("| median | | %.1f %% | %.1f %% | | |\n", 100*median(speed), 100*median(each))
}

func median(of []float64) float64 { return slices.Sorted(slices.Values(of))[len(of)/2] }
