package e2e_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"agentctl/clearml"
	"agentctl/test/e2e/harness"
	"agentctl/test/front"
)

// remote is a node whose server is not its own, by the rules of a ClearML Server.
type remote struct {
	*harness.Node
	up     *front.Upstream
	faults *front.Faults
	url    string
}

// atUpstream makes such a node; its agent is not started.
func atUpstream(t *testing.T, now func() time.Time) *remote {
	t.Helper()
	up := front.New(t, now)
	r := &remote{Node: harness.New(t), up: up, faults: front.NewFaults(up)}
	s := httptest.NewUnstartedServer(r.faults)
	s.Config.ErrorLog = nil
	s.Start()
	t.Cleanup(s.Close)
	t.Cleanup(s.CloseClientConnections)
	r.url = s.URL
	writeKeys(t, filepath.Join(r.Dir, "credentials"), up.Keys.AccessKey, up.Keys.SecretKey)
	return r
}

// spec is a node.yaml with these workers.
func (r *remote) spec(poll time.Duration, workers ...string) string {
	server := fmt.Sprintf("spec:\n  server: {url: %q, credentialsFile: %q, pollInterval: %s}\n", r.url, filepath.Join(r.Dir, "credentials"), poll)
	return strings.Replace(node(workers...), "spec:\n", server, 1)
}

// shell makes a task that is a shell script, which needs no environment.
func (r *remote) shell(script string) (task string) {
	r.T.Helper()
	task, err := r.up.User.CreateTask(context.Background(), clearml.NewTask{
		Name: strings.ReplaceAll(r.T.Name(), "/", " "), Type: "training",
		Script: clearml.Script{EntryPoint: "run.sh", WorkingDir: ".", Diff: script, Binary: "sh"},
	})
	if err != nil {
		r.T.Fatal(err)
	}
	return task
}

func (r *remote) enqueue(task, queue string) {
	r.T.Helper()
	id, err := r.up.User.ResolveQueue(context.Background(), queue, true)
	if err == nil {
		err = r.up.User.Enqueue(context.Background(), task, id, "", true)
	}
	if err != nil {
		r.T.Fatal(err)
	}
}

func (r *remote) await(task string, statuses ...string) *clearml.Task {
	r.T.Helper()
	var got *clearml.Task
	harness.Eventually(r.T, harness.Patience, "task "+task+" to be "+strings.Join(statuses, " or "), func() (saw string) {
		var err error
		if got, err = r.up.User.Task(context.Background(), task); err != nil {
			return err.Error()
		}
		if slices.Contains(statuses, got.Status) {
			return ""
		}
		return got.Status + " " + got.StatusReason + " " + got.StatusMessage
	})
	return got
}

// console is what the server has of a task's console, line by line.
func (r *remote) console(task string) (lines []string) {
	r.T.Helper()
	for after := int64(0); ; {
		events, err := r.up.User.LogEventsAfter(context.Background(), task, after, 1000)
		if err != nil {
			r.T.Fatal(err)
		}
		if len(events) == 0 {
			return lines
		}
		for _, e := range events {
			lines = append(lines, strings.Split(strings.TrimSuffix(e.Msg, "\n"), "\n")...)
			after = e.Timestamp
		}
	}
}

// waitFor has a shell script wait for a gate.
func (r *remote) waitFor(gate string) string {
	return fmt.Sprintf("while ! [ -e %s ]; do sleep 0.02; done\n", r.Gate(gate))
}

func (r *remote) open(gate string) string { return fmt.Sprintf("touch %s\n", r.Gate(gate)) }

// On a bad day every task runs once, its console has every line once and in order, and
// its status is the right one, whatever comes to grief between agent and server.
func TestBadDay(t *testing.T) {
	t.Parallel()
	seeds := []uint64{8}
	if long {
		seeds = []uint64{8, 9, 10, 11, 12}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { badDay(t, seed) })
	}
}

func badDay(t *testing.T, seed uint64) {
	skewed := func() time.Time { return time.Now().Add(-40 * 24 * time.Hour) } // no token seems good
	r := atUpstream(t, skewed)
	r.faults.Bad(seed)
	r.StartAgent()
	r.Apply(r.spec(200*time.Millisecond, "{name: a, queues: [one, two], mode: venv, count: 2, createQueues: true}", "{name: b, queues: [two, one], order: roundRobin, mode: venv, createQueues: true}"))
	const tasks, lines = 16, 40
	ran := r.Gate("ran")
	ids := make([]string, tasks)
	for i := range ids {
		ids[i] = r.shell(fmt.Sprintf("echo $CLEARML_TASK_ID >> %s\nfor i in $(seq %d); do echo line $i; [ $((i %% 10)) = 0 ] && sleep 0.1; done\nexit %d\n", ran, lines, i%3))
		r.enqueue(ids[i], []string{"one", "two"}[i%2])
	}
	for i, id := range ids {
		if i%6 == 3 { // on such a day the agent dies as well
			r.KillAgent()
			r.StartAgent()
		}
		want := clearml.StatusFailed
		if i%3 == 0 {
			want = clearml.StatusCompleted
		}
		if got := r.await(id, clearml.StatusCompleted, clearml.StatusFailed, clearml.StatusStopped); got.Status != want {
			t.Errorf("task %d ended %s (%s: %s), want %s", i, got.Status, got.StatusReason, got.StatusMessage, want)
		}
		var said []string
		for _, line := range r.console(id) {
			if strings.HasPrefix(line, "line ") {
				said = append(said, line)
			}
		}
		var wanted []string
		for n := range lines {
			wanted = append(wanted, fmt.Sprintf("line %d", n+1))
		}
		if !slices.Equal(said, wanted) {
			t.Errorf("task %d: %d lines on the console, want %d: %q", i, len(said), lines, said)
		}
	}
	data, err := os.ReadFile(ran)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Fields(string(data))
	slices.Sort(got)
	slices.Sort(ids)
	if !slices.Equal(got, ids) {
		t.Errorf("%d runs of %d tasks:\n%v\n%v", len(got), tasks, got, ids)
	}
	if met := r.faults.Met(); len(met) < front.Kinds() {
		t.Errorf("the day was not bad enough: %v", met)
	}
}

// A task can be stopped while its server is away, by an agent, too, that has never reached
// it; its end is reported afterwards.
func TestStoppedWhileItsServerIsAway(t *testing.T) {
	t.Parallel()
	r := atUpstream(t, time.Now)
	r.StartAgent()
	r.Apply(r.spec(200*time.Millisecond, "{name: a, queues: [one], mode: venv, createQueues: true}"))
	task := r.shell(fmt.Sprintf("trap 'touch %s; exit 0' TERM\ntouch %s\nwhile :; do sleep 0.02; done\n", r.Gate("ended"), r.Gate("begun")))
	r.enqueue(task, "one")
	r.WaitGate("begun")
	r.await(task, clearml.StatusInProgress)
	r.faults.Down(true)
	r.KillAgent()
	r.StartAgent()
	r.Must("stop", "--timeout", "0", task) // else it waits for the report
	r.WaitGate("ended")
	r.faults.Down(false)
	if got := r.await(task, clearml.StatusStopped); got.StatusReason != "stopped by agentctl" {
		t.Errorf("ended %s: %s", got.Status, got.StatusReason)
	}
}
