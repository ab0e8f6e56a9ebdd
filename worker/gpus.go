package worker

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"

	"agentctl/clearml"
	"agentctl/reconcile"
	"agentctl/runtime"
	"agentctl/runtime/gpu"
	"agentctl/spec"

	"github.com/samber/lo"
)

// noDevices is what clearml-agent --cpu-only says; CUDA and the SDK find no GPU by it.
const noDevices = "none"

// slotDevices are the devices of slots, several of which may share one, in the order in
// which w lists them, else by number.
func slotDevices(slots []string, w spec.Worker, gpus []reconcile.GPU) []string {
	devices := lo.Uniq(lo.Map(slots, func(id string, _ int) string { device, _, _ := strings.Cut(id, "/"); return device }))
	place := func(device string) int {
		at := slices.IndexFunc(w.GPUs.Devices, func(d string) bool {
			return d == device || slices.ContainsFunc(gpus, func(g reconcile.GPU) bool { return g.Is(d) && g.Is(device) })
		})
		if index, err := strconv.Atoi(device); at < 0 && err == nil {
			return index
		}
		return at
	}
	slices.SortStableFunc(devices, func(a, b string) int { return cmp.Compare(place(a), place(b)) })
	return devices
}

// alike calls all by their indices if one is: CUDA reads a list as it begins, and takes
// nothing from the first one on that is called otherwise.
func alike(devices []string, gpus []reconcile.GPU) []string {
	byIndex := func(device string) bool { _, err := strconv.Atoi(device); return err == nil }
	if !slices.ContainsFunc(devices, byIndex) {
		return devices
	}
	return lo.Map(devices, func(device string, _ int) string {
		if g, seen := lo.Find(gpus, func(g reconcile.GPU) bool { return g.Is(device) }); seen {
			return strconv.Itoa(g.Index)
		}
		return device
	})
}

// forCUDA are devices as CUDA has to be told of them. It does not count a GPU that it can't
// use, or that is split, as NVML does: its numbers would be those of other GPUs then.
func forCUDA(devices []string, gpus []reconcile.GPU) []string {
	if !lo.SomeBy(gpus, func(g reconcile.GPU) bool { return g.Problem != "" }) {
		return alike(devices, gpus)
	}
	uuids := lo.FilterMap(devices, func(device string, _ int) (string, bool) {
		g, _ := lo.Find(gpus, func(g reconcile.GPU) bool { return g.Is(device) })
		return g.UUID, g.UUID != ""
	})
	if len(uuids) < len(devices) { // not all are known
		return alike(devices, gpus)
	}
	return uuids
}

// gpuVariables say to a task which GPUs it has, as clearml-agent does: a task without
// any on a node with GPUs is told so, as by --cpu-only. A node that has none, and whose
// spec says nothing of GPUs, says nothing.
//
// A sandbox shows no other GPUs, and numbers its own from 0: all of them are the task's.
// The SDK takes NVIDIA_VISIBLE_DEVICES for numbers as NVML has them, there.
func (p *Pool) gpuVariables(slots []string, w spec.Worker) []string {
	gpus := p.gpus()
	p.mu.Lock()
	mode := spec.SlotsAuto
	if p.node != nil {
		mode = p.node.Spec.GPUs.Slots.Mode
	}
	p.mu.Unlock()
	visible, cuda := noDevices, noDevices
	switch {
	case len(slots) > 0 && w.Mode == spec.ModeSandbox:
		return []string{"NVIDIA_VISIBLE_DEVICES=all"}
	case len(slots) > 0:
		devices := slotDevices(slots, w, gpus)
		visible, cuda = strings.Join(alike(devices, gpus), ","), strings.Join(forCUDA(devices, gpus), ",")
	case mode == spec.SlotsAuto && len(gpus) == 0 && !p.gpusSilent():
		return nil
	}
	return []string{"NVIDIA_VISIBLE_DEVICES=" + visible, "CUDA_VISIBLE_DEVICES=" + cuda}
}

// showGPUs gives the sandbox of p the device nodes of its GPUs, and what of the driver
// programs in its image need. An image of the host has that already.
func (s site) showGPUs(p *prepared) error {
	if len(s.slots) == 0 {
		return nil
	}
	if s.pool.cfg.GPUState == nil {
		return errors.New("cannot show a GPU in a sandbox: nobody looks for GPUs")
	}
	edits, err := s.pool.cfg.GPUState().Give(slotDevices(s.slots, s.worker, s.pool.gpus()))
	if err != nil {
		return Infrastructure(err)
	}
	box := p.box.laid.Sandbox
	box.Devices = lo.UniqBy(append(box.Devices, edits.Devices...), runtime.Device.At)
	if !box.Host {
		// What operator and task mount goes before.
		box.Mounts = lo.UniqBy(append(box.Mounts, edits.Mounts...), func(m runtime.Mount) string { return m.Target })
	}
	p.box.gpus = edits
	return nil
}

// GPUFigures adds the figures of the GPUs of slots to those of the machine.
func GPUFigures(state gpu.State, slots []string, stats *clearml.MachineStats) {
	for _, g := range state.GPUs {
		if g.Problem != "" || !slices.ContainsFunc(slots, func(id string) bool { device, _, _ := strings.Cut(id, "/"); return g.Is(device) }) {
			continue
		}
		stats.GPUUsage = append(stats.GPUUsage, g.Figures.Usage)
		stats.GPUTemperature = append(stats.GPUTemperature, g.Figures.Temperature)
		stats.GPUMemoryUsed = append(stats.GPUMemoryUsed, float64(g.Figures.MemoryUsed)/mega)
		stats.GPUMemoryFree = append(stats.GPUMemoryFree, float64(g.Figures.MemoryFree)/mega)
	}
}

// GPUsOf are the GPUs of a state as plans have them; nil if nobody could look.
func GPUsOf(s gpu.State) []reconcile.GPU {
	if s.GPUs == nil {
		return nil
	}
	return lo.Map(s.GPUs, func(g gpu.GPU, _ int) reconcile.GPU {
		return reconcile.GPU{Index: g.Index, UUID: g.UUID, Name: g.Name, Problem: g.Problem}
	})
}
