package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"agentctl/control"
	"agentctl/reconcile"
	"agentctl/spec"
)

// golden compares with testdata/NAME.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestDescribe(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.Local)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	code := 3
	task := reconcile.TaskStatus{
		ID: "f2ac05019ec07536c03864a535942719", Name: "train \x1b[2J", Worker: "train/0", Queue: "default", Phase: "running",
		Status: "in_progress", Leased: ago(time.Hour), Started: ago(59 * time.Minute), Environment: "hit", EnvKey: "1842eff454aa",
		Manager: "uv", Why: "the same parts as the environment built 2026-11-24 11:00:00", LockKey: "77aa0c5e",
		Containment: "cgroup2", Image: "docker.io/library/debian:12", ImageDigest: "sha256:0a1b", Network: "private", User: "root", HostUser: 1048576,
		Sandbox: "ahead", Times: []reconcile.PhaseTime{{Name: "environment", Took: 5 * time.Millisecond}},
	}
	last := task
	last.ID, last.Status, last.Reason, last.ExitCode, last.Ended = "aa", "failed", "worker execution exit code 3", &code, ago(time.Minute)
	w := reconcile.WorkerStatus{
		Name: "train/0", State: reconcile.StateRunning, Order: &reconcile.Order{}, Since: ago(time.Hour), Task: &task, Last: &last,
		Spec: spec.Worker{
			Name: "train/0", ID: "here:train:0", Queues: []string{"urgent", "default"}, Order: "priority", Mode: "venv",
			PackageManager: spec.PackageManager{Type: "pip", Python: spec.Python{Default: "3.12"}}, StopGrace: spec.Duration(30 * time.Second),
		},
		Conditions: []reconcile.Condition{{Type: reconcile.Ready, Status: reconcile.False, Reason: "Cordoned", Message: "takes no task", Since: ago(time.Hour)}},
	}
	snap := &reconcile.Snapshot{
		Name: "here", Node: &spec.Node{Metadata: spec.Metadata{Name: "here", Labels: map[string]string{"b": "2", "a": "1"}}},
		LastApplied:   reconcile.Revision{Number: 4, Digest: "fd79780387c4d970", Time: ago(26 * time.Hour)},
		LastAttempted: reconcile.Revision{Digest: "00112233445566778899", Time: ago(time.Minute)},
		Server:        reconcile.ServerStatus{URL: "https://api.example.com", Error: "no route"},
		Workers:       []reconcile.WorkerStatus{w},
		Conditions:    []reconcile.Condition{{Type: reconcile.SpecAccepted, Status: reconcile.False, Reason: "Invalid", Message: "node.yaml:3:1: wrong", Since: ago(time.Minute)}},
		Plan:          reconcile.Plan{Actions: []reconcile.Action{{Verb: reconcile.Wait, Worker: "train/0", Reason: "runs a task"}}},
		Warnings:      spec.Problems{{File: "node.yaml", Line: 1, Column: 2, Severity: spec.SeverityWarning, Fault: "has no effect yet"}},
	}
	who := control.Agent{Version: "v1", PID: 7, Started: ago(2 * time.Hour), State: "/state", Source: control.Source{Kind: "file", Path: "/n.yaml", By: "apply"}}
	for name, fill := range map[string]func(*page){
		"describe-node.txt":   func(p *page) { p.node(snap, who) },
		"describe-worker.txt": func(p *page) { p.worker(w) },
		"describe-task.txt":   func(p *page) { p.task(last) },
	} {
		var out bytes.Buffer
		p := newPage(&out, now)
		fill(p)
		if err := p.w.Flush(); err != nil {
			t.Fatal(err)
		}
		golden(t, name, out.String())
	}
}

// A task that is being prepared shows its step, and how far a download is.
func TestTaskState(t *testing.T) {
	for want, task := range map[string]reconcile.TaskStatus{
		"download 120/450 MB": {Phase: "download", Status: "in_progress", Done: 120e6, Total: 450e6},
		"download 7 MB":       {Phase: "download", Status: "in_progress", Done: 7e6},
		"resolve":             {Phase: "resolve", Status: "in_progress"},
		"failed":              {Phase: "download", Status: "failed", Done: 1e6, Total: 2e6, Ended: time.Now()},
		"in_progress":         {Status: "in_progress"},
	} {
		if got := taskState(task); got != want {
			t.Errorf("%+v: %q, want %q", task, got, want)
		}
	}
}
