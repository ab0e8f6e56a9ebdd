package main

import (
	"strings"
	"testing"

	"agentctl/control"
	"agentctl/reconcile"
	"agentctl/runtime/gpu"
	"agentctl/spec"

	"github.com/google/go-cmp/cmp"
)

// GPUs are listed with who has them, also those that only the spec or a worker knows.
func TestGPUsAreListed(t *testing.T) {
	state := gpu.State{Driver: "550.54", CUDA: "12.4", GPUs: []gpu.GPU{
		{Index: 0, UUID: "GPU-a", Name: "NVIDIA L4", Memory: 24 << 30, Minor: 3, Figures: gpu.Figures{Usage: 5, MemoryUsed: 1 << 30}},
		{Index: 1, UUID: "GPU-b", Problem: "it is lost"},
	}}
	node := (&spec.Node{Spec: spec.NodeSpec{GPUs: spec.GPUs{Slots: spec.Slots{Mode: spec.SlotsList, List: []spec.Slot{{Device: "0"}, {Device: "7"}}}}}})
	snap := &reconcile.Snapshot{Node: node, Workers: []reconcile.WorkerStatus{
		{Name: "a/0", Slots: []string{"0/0"}, Task: &reconcile.TaskStatus{ID: "t1", Slots: []string{"0/0"}}},
		{Name: "a/1", Slots: []string{"0/1"}},
		{Name: "b/0", Slots: []string{"MIG-x"}, Task: &reconcile.TaskStatus{ID: "t2", Slots: []string{"GPU-b"}}},
	}}
	none := []control.GPUHolder{}
	want := control.GPUs{Driver: "550.54", CUDA: "12.4", GPUs: []control.GPU{
		{Device: "0", UUID: "GPU-a", Name: "NVIDIA L4", Memory: 24 << 30, Usage: 5, MemoryUsed: 1 << 30,
			Holders: []control.GPUHolder{{Slot: "0/0", Worker: "a/0", Task: "t1"}, {Slot: "0/1", Worker: "a/1"}}},
		{Device: "1", UUID: "GPU-b", Problem: "it is lost", Holders: []control.GPUHolder{{Slot: "GPU-b", Worker: "b/0", Task: "t2"}}},
		{Device: "7", Holders: none},
		{Device: "MIG-x", Holders: []control.GPUHolder{{Slot: "MIG-x", Worker: "b/0"}}},
	}}
	if diff := cmp.Diff(want, gpusOf(state, snap)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// The doctor tells a machine without GPUs from one whose driver is broken.
func TestGPUsAreChecked(t *testing.T) {
	healthy := gpu.State{Driver: "550.54", CUDA: "12.4", GPUs: []gpu.GPU{{Index: 0, UUID: "GPU-a", Name: "NVIDIA L4", Minor: 0}}}
	for about, c := range map[string]struct {
		h       host
		verdict string
		detail  string
	}{
		"no driver":          {host{GPU: gpu.State{Problem: "no NVML"}}, verdictOK, "no NVML"},
		"half a driver":      {host{Cards: []string{"NVIDIA L4"}, GPU: gpu.State{Problem: "no NVML"}}, verdictFail, "NVIDIA L4"},
		"a driver, no GPU":   {host{GPU: gpu.State{Driver: "550.54", GPUs: []gpu.GPU{}}}, verdictOK, "driver 550.54"},
		"a GPU that is lost": {host{GPU: gpu.State{GPUs: []gpu.GPU{{Index: 0, Problem: "it is lost"}}}}, verdictWarn, "it is lost"},
		"a GPU":              {host{GPUs: []string{"NVIDIA L4"}, GPU: healthy}, verdictOK, "NVIDIA L4; driver 550.54, CUDA 12.4"},
	} {
		got := checkGPUs(c.h)
		if len(got) == 0 || got[0].Verdict != c.verdict || !strings.Contains(got[0].Detail, c.detail) {
			t.Errorf("%s: %+v", about, got)
		}
	}
	if got := checkGPUSandbox(healthy); got.Verdict != verdictWarn || got.Fix == "" {
		t.Errorf("without nodes: %+v", got)
	}
}
