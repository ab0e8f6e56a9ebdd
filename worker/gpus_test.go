package worker

import (
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"agentctl/clearml"
	"agentctl/reconcile"
	"agentctl/runtime"
	"agentctl/runtime/gpu"
	"agentctl/spec"

	"github.com/NVIDIA/go-nvml/pkg/nvml"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/dgxa100"
	"github.com/NVIDIA/go-nvml/pkg/nvml/mock/server"
	"github.com/google/go-cmp/cmp"
)

// playedGPUs are two GPUs of a DGX, whose nodes are in a folder.
func playedGPUs(t *testing.T) gpu.State {
	t.Helper()
	lib := dgxa100.New()
	lib.Devices = lib.Devices[:2]
	dev := t.TempDir()
	for i, d := range lib.Devices {
		device := d.(*server.Device)
		device.UUID = "GPU-" + string(rune('a'+i))
		device.MemoryInfo = nvml.Memory{Total: 4 * mega, Used: mega, Free: 3 * mega}
		device.GetUtilizationRatesFunc = func() (nvml.Utilization, nvml.Return) { return nvml.Utilization{Gpu: uint32(10 + i)}, nvml.SUCCESS }
		device.GetTemperatureFunc = func(nvml.TemperatureSensors) (uint32, nvml.Return) { return uint32(40 + i), nvml.SUCCESS }
	}
	for _, name := range []string{"nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"} {
		if err := os.WriteFile(filepath.Join(dev, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return gpu.Look(t.Context(), gpu.Options{Lib: lib, Dev: dev, CDI: []string{dev}, Log: slog.New(slog.DiscardHandler)})
}

// Which GPUs are a task's is said as clearml-agent says it: --gpus, --cpu-only, neither.
func TestGPUVariables(t *testing.T) {
	state := playedGPUs(t)
	seen := func() []reconcile.GPU { return GPUsOf(state) }
	silent := gpu.NewWatcher(gpu.Options{Lib: dgxa100.New()}).State()
	list := func(devices ...string) spec.Worker {
		return spec.Worker{Mode: spec.ModeVenv, GPUs: spec.GPURequest{Mode: spec.GPUsList, Devices: devices}}
	}
	both := func(visible string) []string {
		return []string{"NVIDIA_VISIBLE_DEVICES=" + visible, "CUDA_VISIBLE_DEVICES=" + visible}
	}
	venv := spec.Worker{Mode: spec.ModeVenv}
	for about, c := range map[string]struct {
		slots []string
		of    spec.Worker
		mode  string
		gpus  func() []reconcile.GPU
		want  []string
	}{
		"one":                          {[]string{"0"}, venv, spec.SlotsAuto, seen, both("0")},
		"by number":                    {[]string{"1", "10", "2"}, venv, spec.SlotsAuto, seen, both("1,2,10")},
		"as listed":                    {[]string{"0", "1"}, list("1", "0"), spec.SlotsAuto, seen, both("1,0")},
		"as listed, by UUID":           {[]string{"0", "1"}, list("GPU-b", "GPU-a"), spec.SlotsAuto, seen, both("1,0")},
		"by UUIDs alone":               {[]string{"GPU-b", "GPU-a"}, list("GPU-b", "GPU-a"), spec.SlotsList, seen, both("GPU-b,GPU-a")},
		"one by its UUID":              {[]string{"0", "GPU-b"}, list("GPU-b", "0"), spec.SlotsList, seen, both("1,0")},
		"shares of one":                {[]string{"1/0", "1/1"}, venv, spec.SlotsList, seen, both("1")},
		"unseen":                       {[]string{"MIG-a"}, venv, spec.SlotsList, nil, both("MIG-a")},
		"none of those that are there": {nil, venv, spec.SlotsAuto, seen, both("none")},
		"none of a list":               {nil, venv, spec.SlotsList, nil, both("none")},
		"no GPUs here":                 {nil, venv, spec.SlotsAuto, nil, nil},
		"not handed out":               {nil, venv, spec.SlotsNone, nil, both("none")},
		"a sandbox":                    {[]string{"1"}, spec.Worker{Mode: spec.ModeSandbox}, spec.SlotsAuto, seen, []string{"NVIDIA_VISIBLE_DEVICES=all"}},
		"a sandbox without":            {nil, spec.Worker{Mode: spec.ModeSandbox}, spec.SlotsAuto, seen, both("none")},
	} {
		p := poolWith(t, t.TempDir())
		p.node = &spec.Node{Spec: spec.NodeSpec{GPUs: spec.GPUs{Slots: spec.Slots{Mode: c.mode}}}}
		p.cfg.GPUs = c.gpus
		if got := p.gpuVariables(c.slots, c.of); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", about, got, c.want)
		}
	}
	p := poolWith(t, t.TempDir())
	p.node = &spec.Node{Spec: spec.NodeSpec{GPUs: spec.GPUs{Slots: spec.Slots{Mode: spec.SlotsAuto}}}}
	p.cfg.GPUs = func() []reconcile.GPU {
		return []reconcile.GPU{{Index: 0, UUID: "GPU-a", Problem: "it is lost"}, {Index: 1, UUID: "GPU-b"}}
	}
	if got := p.gpuVariables([]string{"1"}, venv); !slices.Equal(got, []string{"NVIDIA_VISIBLE_DEVICES=1", "CUDA_VISIBLE_DEVICES=GPU-b"}) {
		t.Errorf("beside a GPU that is lost: %q", got)
	}
	p.cfg.GPUs = nil
	p.cfg.GPUState = func() gpu.State { return silent }
	if got := p.gpuVariables(nil, venv); !slices.Equal(got, both("none")) || !p.Observe().GPUsSilent {
		t.Errorf("while the driver is silent: %q", got)
	}
}

// Status reports have the figures of a worker's own GPUs, in the units of the UI.
func TestGPUFigures(t *testing.T) {
	state := playedGPUs(t)
	p := poolWith(t, t.TempDir())
	p.cfg.GPUStats = func(slots []string, stats *clearml.MachineStats) { GPUFigures(state, slots, stats) }
	of := &clearml.MachineStats{MemoryUsed: 7}
	if p.withGPUs(of, nil) != of || p.withGPUs(nil, []string{"0"}) != nil {
		t.Error("what is another worker's, or no report, has changed")
	}
	want := &clearml.MachineStats{MemoryUsed: 7, GPUUsage: []float64{11}, GPUTemperature: []float64{41}, GPUMemoryUsed: []float64{1}, GPUMemoryFree: []float64{3}}
	for _, slot := range []string{"1", "1/3", "GPU-b"} {
		if diff := cmp.Diff(want, p.withGPUs(of, []string{slot})); diff != "" {
			t.Errorf("%s (-want +got)\n%s", slot, diff)
		}
	}
	if of.GPUUsage != nil {
		t.Error("the machine's own figures have changed")
	}
}

// The sandbox of a task shows its GPUs' nodes beside the devices that its settings
// give, and what is mounted already stays.
func TestShowGPUs(t *testing.T) {
	state := playedGPUs(t)
	p := poolWith(t, t.TempDir())
	box := &runtime.Sandbox{
		Devices: []runtime.Device{{Path: "/dev/fuse", Access: "rw"}, {Path: "/dev/null", Target: "/dev/nvidiactl", Access: "r"}},
		Mounts:  []runtime.Mount{{Source: "/own", Target: "/usr/bin/nvidia-smi"}},
	}
	s := site{pool: p, slots: []string{"1/0", "1/1"}}
	n := &prepared{needs: needs{box: &sandboxed{laid: runtime.Config{Sandbox: box}}}}
	if err := s.showGPUs(n); err == nil {
		t.Error("nobody looks, and it worked")
	}
	p.cfg.GPUState = func() gpu.State { return state }
	if err := s.showGPUs(n); err != nil {
		t.Fatal(err)
	}
	var shown []string
	for _, d := range box.Devices {
		shown = append(shown, d.At())
	}
	if want := []string{"/dev/fuse", "/dev/nvidiactl", "/dev/nvidia1", "/dev/nvidia-uvm"}; !slices.Equal(shown, want) || box.Devices[1].Path != "/dev/null" {
		t.Errorf("%q, want %q", shown, want)
	}
	if box.Mounts[0].Source != "/own" {
		t.Errorf("%+v", box.Mounts)
	}
	s.slots = []string{"7"}
	if err := s.showGPUs(n); err == nil || !strings.Contains(err.Error(), "gpu 7") {
		t.Errorf("a GPU that is not there: %v", err)
	}
}

// The driver's libraries come after those that a task or its image brings.
func TestLinkedLibraries(t *testing.T) {
	for about, c := range map[string]struct {
		chosen, image []string
		want          string
	}{
		"none":                  {nil, nil, "LD_LIBRARY_PATH=/gpu"},
		"of an image":           {nil, []string{"A=b", "LD_LIBRARY_PATH=/usr/local/cuda/lib64:"}, "LD_LIBRARY_PATH=/usr/local/cuda/lib64:/gpu"},
		"the task's goes first": {[]string{"LD_LIBRARY_PATH=/task"}, []string{"LD_LIBRARY_PATH=/image"}, "LD_LIBRARY_PATH=/task:/gpu"},
		"there already":         {nil, []string{"LD_LIBRARY_PATH=/gpu:/x"}, "LD_LIBRARY_PATH=/gpu:/x"},
	} {
		env := taskEnv{libraries: "/gpu", chosen: c.chosen, image: c.image}.build(func(string) (string, bool) { return "", false })
		if !slices.Contains(env, c.want) {
			t.Errorf("%s: %q", about, env)
		}
	}
}
