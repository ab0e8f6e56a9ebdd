package main

import (
	"context"
	"slices"
	"strconv"

	"agentctl/control"
	"agentctl/reconcile"
	"agentctl/runtime/gpu"
	"agentctl/spec"

	"github.com/samber/lo"
)

// checkGPUs tells whether tasks can have GPUs, by NVML and in sandboxes.
func checkGPUs(h host) []check {
	const name = "gpu"
	s := h.GPU
	switch {
	case s.Problem != "" && len(h.Cards) > 0:
		return []check{fail(name, "install the driver's libraries, of the version of its kernel module: cat /proc/driver/nvidia/version",
			"the kernel has %s, and tasks can't have it: %s", joined(h.Cards), s.Problem)}
	case s.Problem != "":
		return []check{ok(name, "no NVIDIA GPU: %s", s.Problem)}
	case len(s.GPUs) == 0:
		return []check{ok(name, "no NVIDIA GPU; driver %s", s.Driver)}
	}
	var list []check
	for _, g := range s.GPUs {
		if g.Problem != "" {
			fix := "nvidia-smi -i " + strconv.Itoa(g.Index) + ", and the kernel's log: dmesg | grep -i xid"
			if g.MIG {
				fix = "nvidia-smi -L, which lists its instances"
			}
			list = append(list, warn(name, fix, "gpu %d %s can't be had: %s", g.Index, g.Name, g.Problem))
		}
	}
	if len(h.GPUs) == 0 {
		return list
	}
	list = append(list, ok(name, "%s; driver %s, CUDA %s", joined(h.GPUs), s.Driver, s.CUDA))
	return append(list, checkGPUSandbox(s))
}

// checkGPUSandbox tells what a sandbox would show of the GPUs.
func checkGPUSandbox(s gpu.State) check {
	const name = "gpu-sandbox"
	var devices []string
	for _, g := range s.GPUs {
		if g.Problem == "" {
			devices = append(devices, strconv.Itoa(g.Index))
		}
	}
	edits, err := s.Give(devices)
	named, problem := s.CDI()
	switch {
	case err != nil:
		return warn(name, "see the message", "%v", err)
	case problem != "":
		return warn(name, "write it anew: nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml", "a CDI specification can't be used: %s", problem)
	case edits.Libraries() == "":
		return warn(name, "ldconfig -p | grep libcuda must list it", "images get no library of the driver: none was found")
	case named > 0:
		return ok(name, "%d devices, %d files, by a CDI specification", len(edits.Devices), len(edits.Mounts))
	}
	return ok(name, "%d devices, %d files of the driver", len(edits.Devices), len(edits.Mounts))
}

// checkGPUUse warns of GPUs that no task will ever see, which is seldom meant.
func checkGPUUse(ctx context.Context, c *control.Client, snap *reconcile.Snapshot) []check {
	all, err := c.GPUs(ctx)
	usable := lo.CountBy(all.GPUs, func(g control.GPU) bool { return g.UUID != "" && g.Problem == "" })
	asks := func(w reconcile.WorkerStatus) bool { return w.Spec.GPUs.Mode != spec.GPUsNone }
	if err != nil || usable == 0 || snap.Node == nil || snap.Node.Spec.GPUs.Slots.Mode == spec.SlotsNone ||
		len(snap.Workers) == 0 || slices.ContainsFunc(snap.Workers, asks) {
		return nil
	}
	return []check{warn("gpu-use", "write for them: gpus: 1, or a list, or all", "no worker has any of the %s of this machine, so no task sees one", plural(usable, "GPU"))}
}
