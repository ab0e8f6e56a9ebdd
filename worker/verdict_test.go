package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentctl/clearml"
	"agentctl/runtime"
	"agentctl/spec"
)

func TestVerdict(t *testing.T) {
	for _, tc := range []struct {
		status, message string
		gone            bool
		stop            bool
		final           string
	}{
		{status: clearml.StatusInProgress},
		{status: clearml.StatusInProgress, message: "pulled by x"},
		{status: clearml.StatusInProgress, message: "stopping", stop: true, final: clearml.StatusStopped},
		{status: clearml.StatusCompleted},
		{status: clearml.StatusStopped, stop: true},
		{status: clearml.StatusFailed, stop: true},
		{status: clearml.StatusClosed, stop: true},
		{status: clearml.StatusPublished, stop: true},
		{status: clearml.StatusQueued, stop: true},
		{status: clearml.StatusCreated, stop: true},
		{gone: true, stop: true},
	} {
		final, stop := verdict(clearml.TaskState{Status: tc.status, StatusMessage: tc.message}, !tc.gone)
		if stop != tc.stop || final.Status != tc.final {
			t.Errorf("%+v: got %+v, %t", tc, final, stop)
		}
		if stop && final.Reason == "" {
			t.Errorf("%+v: stops without a reason", tc)
		}
	}
}

func TestOutcomeTellsTheWaysToEndApart(t *testing.T) {
	r := &run{rec: &Record{}}
	seen := map[string]bool{}
	for _, tc := range []struct {
		exit   runtime.Exit
		status string
	}{
		{runtime.Exit{Reason: runtime.Exited}, clearml.StatusCompleted},
		{runtime.Exit{Reason: runtime.Exited, Code: 3}, clearml.StatusFailed},
		{runtime.Exit{Reason: runtime.Signaled, Signal: "SIGSEGV"}, clearml.StatusFailed},
		{runtime.Exit{Reason: runtime.TimedOut, Signal: "SIGKILL"}, clearml.StatusFailed},
		{runtime.Exit{Reason: runtime.OutOfMemory, Signal: "SIGKILL"}, clearml.StatusFailed},
		{runtime.Exit{Reason: runtime.StartFailed, Message: "no such file"}, clearml.StatusFailed},
		{runtime.Exit{Reason: runtime.Lost}, clearml.StatusStopped},
	} {
		f := r.outcome(tc.exit)
		if f.Status != tc.status {
			t.Errorf("%+v: status %s, want %s", tc.exit, f.Status, tc.status)
		}
		if seen[f.Reason] {
			t.Errorf("%+v: reason %q stands for another end too", tc.exit, f.Reason)
		}
		seen[f.Reason] = true
	}
	r.final = &Final{Status: clearml.StatusStopped, Reason: "asked"}
	if f := r.outcome(runtime.Exit{Reason: runtime.Signaled, Signal: "SIGTERM"}); f.Reason != "asked" {
		t.Errorf("a stopped task ended as %+v", f)
	}
}

func TestTaskEnvHoldsNothingOfTheAgents(t *testing.T) {
	agent := map[string]string{
		"CLEARML_API_SECRET_KEY": "s3cret", "AWS_SECRET_ACCESS_KEY": "s3cret", "HOME": "/root",
		"HTTPS_PROXY": "http://user:s3cret@proxy:3128", "HTTP_PROXY": "http://proxy:3128", "LD_PRELOAD": "/x.so",
	}
	env := taskEnv{task: "t", worker: "w", token: "tok", home: "/h", tmp: "/t"}.build(func(k string) (string, bool) {
		v, ok := agent[k]
		return v, ok
	})
	text := strings.Join(env, "\n")
	if strings.Contains(text, "s3cret") || strings.Contains(text, "LD_PRELOAD") {
		t.Errorf("the agent's environment shows in the task's:\n%s", text)
	}
	for _, want := range []string{"HTTP_PROXY=http://proxy:3128", "CLEARML_TASK_ID=t", "TRAINS_TASK_ID=t", "HOME=/h", "CLEARML_LOG_TASK_TO_BACKEND=0"} {
		if !slices.Contains(env, want) {
			t.Errorf("%s is missing in\n%s", want, text)
		}
	}
}

func TestJudgeWaitsBeforeItCallsATaskReset(t *testing.T) {
	t.Parallel()
	created := map[string]time.Time{}
	r := newRun(&Pool{cfg: Config{Log: discard}, changed: make(chan struct{}, 1)}, "w/0", &Record{Task: "t"})
	j, err := openJournal(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r.journal = j
	defer j.close()
	runs := map[string]*run{"t": r}
	state := []clearml.TaskState{{ID: "t", Status: clearml.StatusCreated}}
	now := time.Now()
	judge(runs, state, created, now)
	judge(runs, state, created, now.Add(createdFor/2))
	if r.final != nil {
		t.Fatal("stopped at the first sight of created")
	}
	judge(runs, []clearml.TaskState{{ID: "t", Status: clearml.StatusInProgress}}, created, now.Add(createdFor))
	judge(runs, state, created, now.Add(createdFor+time.Second))
	if r.final != nil {
		t.Fatal("time before it was in progress again counted")
	}
	judge(runs, state, created, now.Add(3*createdFor))
	if r.final == nil {
		t.Fatal("a reset task was not stopped")
	}
}

// The count of failures is kept in the reason that the task has on the server.
func TestNodeFailuresAreCounted(t *testing.T) {
	w := spec.Worker{ID: "n:w:0", OnInfrastructureFailure: spec.OnInfrastructureFailure{Policy: spec.InfrastructureRequeue, Attempts: 3}}
	r := &run{rec: &Record{Worker: w}}
	lost := runtime.Exit{Reason: runtime.Lost}
	for want := 1; want < 3; want++ {
		f := r.outcome(lost)
		if f.Status != clearml.StatusQueued || failuresOf(f.Reason) != want {
			t.Fatalf("failure %d: %+v", want, f)
		}
		r.rec.Failures = failuresOf(f.Reason)
	}
	if f := r.outcome(lost); f.Status != clearml.StatusStopped || !strings.Contains(f.Message, "3 times") {
		t.Errorf("the last failure: %+v", f)
	}
	r.rec.Failures, r.unsure = 0, true
	if f := r.outcome(lost); f.Status != clearml.StatusStopped {
		t.Errorf("a task that may still run is queued: %+v", f)
	}
	r.unsure, r.final = false, &Final{Status: clearml.StatusStopped, Reason: "asked"}
	if f := r.outcome(lost); f.Reason != "asked" {
		t.Errorf("a stopped task ended as %+v", f)
	}
	for _, text := range []string{"", "requeued after infrastructure failure x", "was " + requeuedAfter + "2", requeuedAfter + "99999"} {
		if got := failuresOf(text); got != 0 {
			t.Errorf("%q counts as %d", text, got)
		}
	}
}

// What the node lacks is no failure of a task, and what a task asks for in vain is.
func TestFailuresOfTheNode(t *testing.T) {
	t.Parallel()
	r := newRun(&Pool{cfg: Config{Log: discard}, changed: make(chan struct{}, 1)}, "w/0", &Record{Task: "t"})
	r.dirs.root = t.TempDir()
	r.rec.Worker.OnInfrastructureFailure = spec.OnInfrastructureFailure{Policy: spec.InfrastructureRequeue, Attempts: 2}
	for err, want := range map[error]string{
		fmt.Errorf("cannot pull: %w", Infrastructure(errors.New("no route"))): clearml.StatusQueued,
		&fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}:            clearml.StatusQueued,
		&deniedError{}:            clearml.StatusFailed,
		errors.New("no such tag"): clearml.StatusFailed,
	} {
		if f := r.failure(err); f.Status != want {
			t.Errorf("%v: %+v", err, f)
		}
	}
	r.rec.Failures = 1
	if f := r.failure(Infrastructure(errors.New("no route"))); f.Status != clearml.StatusFailed || !strings.Contains(f.Message, "no route") {
		t.Errorf("%+v", f)
	}
}
