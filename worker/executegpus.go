package worker

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"agentctl/reconcile"
	"agentctl/spec"

	"github.com/samber/lo"
)

// freeGPUs are those of an execution: that it names, or all of the node; if it says
// nothing all of the node that no task holds. The mutex is held.
func (p *Pool) freeGPUs(want spec.GPURequest) (slots []string, err error) {
	gpus := p.gpus()
	devices := want.Devices
	switch {
	case want.Mode == spec.GPUsNone, want.Mode == "" && p.node.Spec.GPUs.Slots.Mode == spec.SlotsNone:
		return nil, nil
	case p.gpusSilent() && want.Mode != spec.GPUsList && p.node.Spec.GPUs.Slots.Mode != spec.SlotsList:
		return nil, errors.New("cannot run the task: the driver of the GPUs does not answer (agentctl doctor); to run it without any, say --gpus none")
	case want.Mode != spec.GPUsList:
		devices = p.givenGPUs(gpus)
	}
	for _, device := range devices {
		why := reconcile.Lacking(device, gpus)
		if holder, task := p.holderOf(device, gpus); task != "" {
			why = fmt.Sprintf("worker %s holds it for the task %s", holder, task)
		}
		switch twice := slices.ContainsFunc(slots, func(id string) bool { return reconcile.Overlap(id, device, gpus) }); {
		case why == "" && !twice:
			slots = append(slots, device)
		case why != "" && want.Mode != "":
			return nil, fmt.Errorf("cannot run the task with GPU %s: %s", device, why)
		}
	}
	return slots, nil
}

// givenGPUs are those that the spec lets tasks have, as far as they can be had. The mutex
// is held.
func (p *Pool) givenGPUs(gpus []reconcile.GPU) []string {
	devices := lo.Map(gpus, func(g reconcile.GPU, _ int) string { return strconv.Itoa(g.Index) })
	if slots := p.node.Spec.GPUs.Slots; slots.Mode == spec.SlotsList {
		devices = lo.Map(slots.List, func(s spec.Slot, _ int) string { return s.Device })
	}
	return lo.Filter(devices, func(device string, _ int) bool { return reconcile.Lacking(device, gpus) == "" })
}

// holderOf is the worker whose task has a device, or a share of it.
func (p *Pool) holderOf(device string, gpus []reconcile.GPU) (worker, task string) {
	for name, s := range p.workers {
		if s.run != nil && slices.ContainsFunc(s.run.rec.Slots, func(held string) bool { return reconcile.Overlap(device, held, gpus) }) {
			return name, s.run.rec.Task
		}
	}
	return "", ""
}
