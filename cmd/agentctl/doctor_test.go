package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"agentctl/envcache"
	"agentctl/runtime"
)

func TestRungsAreJudged(t *testing.T) {
	no := func(name, why string) runtime.Rung { return runtime.Rung{Name: name, Reason: why} }
	yes := func(name string) runtime.Rung { return runtime.Rung{Name: name, Works: true} }
	fixes := map[string]string{"": "all", "worse": "mend"}
	for _, row := range []struct {
		about           string
		rungs           []runtime.Rung
		verdict, detail string
	}{
		{"the best works", []runtime.Rung{yes("best"), yes("worse")}, verdictOK, "best"},
		{"a worse one works", []runtime.Rung{no("best", "no right"), yes("worse")}, verdictWarn, "worse (best: no right)"},
		{"nothing works", []runtime.Rung{no("best", "no right"), no("worse", "neither")}, verdictFail, "nothing works: best: no right, worse: neither"},
	} {
		got := rungs("x", row.rungs, fixes)[0]
		if got.Verdict != row.verdict || got.Detail != row.detail || (got.Fix == "") != (row.verdict == verdictOK) {
			t.Errorf("%s: %+v", row.about, got)
		}
	}
}

func TestSandboxesAreJudged(t *testing.T) {
	no := func(name string) runtime.Rung { return runtime.Rung{Name: name, Reason: "no right"} }
	yes := func(name string) runtime.Rung { return runtime.Rung{Name: name, Works: true} }
	for _, row := range []struct {
		about                string
		uid                  int
		rungs                []runtime.Rung
		verdict, detail, fix string
	}{
		{"all of root's", 0, []runtime.Rung{yes(runtime.SandboxWorks), yes(runtime.SandboxIDMap), yes(runtime.SandboxMemory)}, verdictOK, "memory", ""},
		{"a kernel that maps no owners", 0, []runtime.Rung{yes(runtime.SandboxWorks), no(runtime.SandboxIDMap), yes(runtime.SandboxMemory)}, verdictOK, "layers stored", ""},
		{"no limits for a user", 1000, []runtime.Rung{yes(runtime.SandboxWorks), no(runtime.SandboxIDMap), no(runtime.SandboxMemory), no(runtime.SandboxPIDs)}, verdictWarn, "networks host and none; no limits of memory, pids: no right", "Delegate=yes"},
		{"no ids for a user", 1000, []runtime.Rung{no(runtime.SandboxWorks)}, verdictWarn, "no right", "subordinate ids"},
		{"none for root", 0, []runtime.Rung{no(runtime.SandboxWorks)}, verdictWarn, "no right", "user namespaces"},
	} {
		got := sandboxes(runtime.Host{UID: row.uid, Sandbox: row.rungs})
		if got.Verdict != row.verdict || !strings.Contains(got.Detail, row.detail) || !strings.Contains(got.Fix, row.fix) || (got.Fix == "") != (row.verdict == verdictOK) {
			t.Errorf("%s: %+v", row.about, got)
		}
	}
}

func TestFoldersThatBlockTheWayAreNamed(t *testing.T) {
	base := t.TempDir()
	open := filepath.Join(base, "open")
	shut := filepath.Join(open, "shut")
	for dir, mode := range map[string]os.FileMode{open: 0o755, shut: 0o700} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
	}
	const somebody = 54321
	if got := blockedAt(filepath.Join(shut, "state"), somebody); got != shut {
		// The folder above may be shut as well; then it is the one to open first.
		if rel, err := filepath.Rel(got, shut); err != nil || strings.HasPrefix(rel, "..") {
			t.Errorf("%q blocks the way, want %q or one above it", got, shut)
		}
	}
	if got := blockedAt("/", somebody); got != "" {
		t.Errorf("%q blocks the way to /", got)
	}
}

func TestHostFilesAreRead(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	if got := memory(write("meminfo", "MemFree: 1 kB\nMemTotal:       24671234 kB\n")); got != 24671234<<10 {
		t.Errorf("memory: %d", got)
	}
	for _, text := range []string{"", "MemTotal: much kB\n"} {
		if got := memory(write("meminfo", text)); got != 0 {
			t.Errorf("memory of %q: %d", text, got)
		}
	}
	write("gpus/0000:01:00.0/information", "Model: \t\t NVIDIA L4\nIRQ: 1\n")
	if got := cards(filepath.Join(dir, "gpus")); len(got) != 1 || got[0] != "NVIDIA L4" {
		t.Errorf("gpus: %q", got)
	}
}

func TestPythonIsJudged(t *testing.T) {
	for verdict, h := range map[string]host{
		verdictOK:   {Pythons: []envcache.Interpreter{{Version: "3.11.2", Path: "/usr/bin/python3"}}},
		verdictFail: {},
	} {
		if got := checkPython(h); got.Verdict != verdict || (got.Fix == "") != (verdict == verdictOK) {
			t.Errorf("%+v", got)
		}
	}
	if got := checkPython(host{Pythons: []envcache.Interpreter{{Version: "3.8.1"}}}); got.Verdict != verdictFail {
		t.Errorf("an old one: %+v", got)
	}
	if got := checkGit(host{}); got.Verdict != verdictFail || !strings.Contains(got.Fix, "apt install git") {
		t.Errorf("%+v", got)
	}
}
