package worker

import (
	"slices"
	"strings"
	"testing"

	"agentctl/reconcile"
	"agentctl/runtime/gpu"
	"agentctl/spec"

	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxa100"
)

// A task that is run by its id gets the GPUs that it names, or those that are free, and
// never one that another task holds.
func TestGPUsOfAnExecution(t *testing.T) {
	p := &Pool{node: &spec.Node{}, cfg: Config{GPUs: func() []reconcile.GPU {
		return []reconcile.GPU{{Index: 0, UUID: "GPU-a"}, {Index: 1, UUID: "GPU-b"}, {Index: 2, UUID: "GPU-c", Problem: "fell off the bus"}, {Index: 3, UUID: "GPU-d"}}
	}}}
	p.node.Spec.GPUs.Slots.Mode = spec.SlotsAuto
	p.workers = map[string]*slot{"train/0": {run: &run{rec: &Record{Task: "t1", Slots: []string{"GPU-b/0"}}}}}
	list := func(devices ...string) spec.GPURequest { return spec.GPURequest{Mode: spec.GPUsList, Devices: devices} }
	for name, c := range map[string]struct {
		want  spec.GPURequest
		slots []string
		fails string
	}{
		"nothing is said": {spec.GPURequest{}, []string{"0", "3"}, ""},
		"none":            {spec.GPURequest{Mode: spec.GPUsNone}, nil, ""},
		"named":           {list("3", "GPU-a"), []string{"3", "GPU-a"}, ""},
		"held":            {list("0", "1"), nil, "train/0 holds it for the task t1"},
		"all":             {spec.GPURequest{Mode: spec.GPUsAll}, nil, "GPU 1"},
		"lost":            {list("GPU-c"), nil, "GPU GPU-c: fell off the bus"},
		"not there":       {list("0", "7"), nil, "GPU 7: it is not on this node"},
		"named twice":     {list("0", "GPU-a"), []string{"0"}, ""},
	} {
		slots, err := p.freeGPUs(c.want)
		if !slices.Equal(slots, c.slots) || (err != nil) != (c.fails != "") || err != nil && !strings.Contains(err.Error(), c.fails) {
			t.Errorf("%s: %v, %v", name, slots, err)
		}
	}
	silent := gpu.NewWatcher(gpu.Options{Lib: dgxa100.New()}).State()
	p.cfg.GPUState = func() gpu.State { return silent }
	if slots, err := p.freeGPUs(spec.GPURequest{}); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("while the driver is silent: %v, %v", slots, err)
	}
	if slots, err := p.freeGPUs(spec.GPURequest{Mode: spec.GPUsNone}); slots != nil || err != nil {
		t.Errorf("none while the driver is silent: %v, %v", slots, err)
	}
	p.node.Spec.GPUs.Slots = spec.Slots{Mode: spec.SlotsList, List: []spec.Slot{{Device: "1"}, {Device: "2"}, {Device: "3", Shares: 2}}}
	for _, mode := range []string{"", spec.GPUsAll} {
		p.workers["train/0"].run.rec.Slots = map[string][]string{"": {"1"}}[mode]
		if slots, err := p.freeGPUs(spec.GPURequest{Mode: mode}); err != nil || mode == "" && !slices.Equal(slots, []string{"3"}) || mode != "" && !slices.Equal(slots, []string{"1", "3"}) {
			t.Errorf("of a list, %q: %v, %v", mode, slots, err)
		}
	}
	p.node.Spec.GPUs.Slots.Mode = spec.SlotsNone
	if slots, err := p.freeGPUs(spec.GPURequest{}); slots != nil || err != nil {
		t.Errorf("a node that gives no GPUs gives %v, %v", slots, err)
	}
}
