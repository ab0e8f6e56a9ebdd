package main

import (
	"testing"

	"agentctl/spec"

	"github.com/google/go-cmp/cmp"
)

// The flags of execute mean what those of clearml-agent do.
func TestWorkerOfAnExecution(t *testing.T) {
	list := func(devices ...string) spec.GPURequest { return spec.GPURequest{Mode: spec.GPUsList, Devices: devices} }
	for _, c := range []struct {
		flags  executeFlags
		docker bool
		want   spec.WorkerSpec
	}{
		{executeFlags{logLevel: "warn"}, false, spec.WorkerSpec{LogLevel: "WARNING"}},
		{executeFlags{logLevel: "DEBUG", optimize: 3, standalone: true}, false, spec.WorkerSpec{LogLevel: "DEBUG", PythonOptimize: 2, Standalone: true}},
		{executeFlags{image: " "}, true, spec.WorkerSpec{Mode: spec.ModeSandbox}},
		{executeFlags{image: "a:1"}, true, spec.WorkerSpec{Mode: spec.ModeSandbox, Image: "a:1"}},
		{executeFlags{gpus: "0,GPU-a"}, false, spec.WorkerSpec{GPUs: list("0", "GPU-a")}},
		{executeFlags{gpus: "all"}, false, spec.WorkerSpec{GPUs: spec.GPURequest{Mode: spec.GPUsAll}}},
		{executeFlags{gpus: "none"}, false, spec.WorkerSpec{GPUs: spec.GPURequest{Mode: spec.GPUsNone}}},
		{executeFlags{cpuOnly: true}, false, spec.WorkerSpec{GPUs: spec.GPURequest{Mode: spec.GPUsNone}}},
	} {
		w, err := c.flags.worker(c.docker)
		if err == nil {
			err = sound(w)
		}
		if diff := cmp.Diff(c.want, w); diff != "" || err != nil {
			t.Errorf("%+v: %v (-want +got)\n%s", c.flags, err, diff)
		}
	}
	if _, err := (&executeFlags{gpus: "0", cpuOnly: true}).worker(false); err == nil {
		t.Error("GPUs and none are taken")
	}
}
