package main

import (
	"testing"

	"agentctl/spec"

	"github.com/google/go-cmp/cmp"
)

func TestRanked(t *testing.T) {
	vars := map[string]string{"RANK": "2", "WORLD_SIZE": "4", "MASTER_ADDR": "a", "HOME": "/x", "SLURM_PROCID": "3"}
	lookup := func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
	w, rank := ranked(spec.WorkerSpec{LogLevel: "DEBUG"}, lookup)
	want := spec.WorkerSpec{LogLevel: "DEBUG", Environment: map[string]string{"RANK": "2", "WORLD_SIZE": "4", "MASTER_ADDR": "a", "SLURM_PROCID": "3"}}
	if diff := cmp.Diff(want, w); diff != "" || rank != 2 {
		t.Errorf("rank %d (-want +got)\n%s", rank, diff)
	}
	delete(vars, "RANK")
	delete(vars, "SLURM_PROCID")
	if w, rank := ranked(spec.WorkerSpec{}, lookup); w.Environment != nil || rank != 0 {
		t.Errorf("rank %d: %v", rank, w.Environment)
	}
}
