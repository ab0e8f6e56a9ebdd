//go:build bench

package bench

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"agentctl/test/e2e/harness"
)

// idleWorkers wait for tasks on each side: one agentctl with as many workers, and
// as many clearml-agent daemons.
const idleWorkers = 8

// cost is what waiting costs.
type cost struct {
	Processes int
	RSS       int64   // bytes
	CPU       float64 // percent of one core
	Requests  float64 // a minute
}

// idleCosts lets both wait on one server, each through a proxy that counts.
func idleCosts(t *testing.T, home *harness.Node) (ours, theirs cost) {
	api := home.Endpoints().API
	own, ownCount := counting(t, api)
	other, otherCount := counting(t, api)

	if _, err := home.Client().ResolveQueue(t.Context(), "idle", true); err != nil {
		t.Fatal(err)
	}
	n := harness.New(t)
	n.StartAgent()
	n.CopyCredentials(home, filepath.Join(n.Dir, "credentials"))
	n.Apply(fmt.Sprintf("apiVersion: agentctl/v1\nkind: Node\nmetadata: {name: idle}\nspec:\n"+
		"  server: {url: %q, credentialsFile: %q}\n  workers: [{name: w, queues: [idle], mode: venv, count: %d}]\n",
		own, filepath.Join(n.Dir, "credentials"), idleWorkers))
	n.WaitServer(true, "")
	p := startPeer(home, other, "theirs", idleWorkers)
	defer p.stop()
	harness.Eventually(t, 5*time.Minute, "the daemons to poll", func() string {
		if got := otherCount.Load(); got < 20*idleWorkers {
			return fmt.Sprintf("%d requests", got)
		}
		return ""
	})
	pids := func() []int { return harness.Processes(p.home) }
	agent := func() []int { return []int{n.AgentPID()} }
	before, beforeOther := usage(agent()), usage(pids())
	ownAt, otherAt, began := ownCount.Load(), otherCount.Load(), time.Now()
	time.Sleep(*idle) // a measurement takes its time
	took := time.Since(began)
	after, afterOther := usage(agent()), usage(pids())
	return before.until(after, took, ownCount.Load()-ownAt), beforeOther.until(afterOther, took, otherCount.Load()-otherAt)
}

// counting is a proxy before a server that counts requests.
func counting(t *testing.T, api string) (string, *atomic.Int64) {
	t.Helper()
	target, err := url.Parse(api)
	if err != nil {
		t.Fatal(err)
	}
	var count atomic.Int64
	proxy := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		count.Add(1)
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.CloseClientConnections)
	return server.URL, &count
}

// used is what processes have used so far.
type used struct {
	processes int
	rss       int64
	ticks     int64
}

// usage reads what the processes have used; see proc(5) for the fields.
func usage(pids []int) (u used) {
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // gone
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest) // from field 3 on
		user, _ := strconv.ParseInt(fields[11], 10, 64)
		system, _ := strconv.ParseInt(fields[12], 10, 64)
		pages, _ := strconv.ParseInt(fields[21], 10, 64)
		u.processes++
		u.ticks += user + system
		u.rss += pages * int64(os.Getpagesize())
	}
	return u
}

// until is the cost between two looks. A tick is 10 ms.
func (u used) until(later used, took time.Duration, requests int64) cost {
	return cost{
		Processes: later.processes, RSS: later.rss,
		CPU:      float64(later.ticks-u.ticks) / took.Seconds(), // 100 ticks a second are 100 %
		Requests: float64(requests) / took.Minutes(),
	}
}
