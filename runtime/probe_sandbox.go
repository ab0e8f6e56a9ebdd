package runtime

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"agentctl/internal/fsx"
)

// What a host may be able to do for a sandbox.
const (
	SandboxWorks  = "sandbox" // sandboxes work at all
	SandboxIDMap  = "idmap"   // layers need not be stored with the owners of the range
	SandboxMemory = "memory"  // the limits that can be kept
	SandboxCPU    = "cpu"
	SandboxCPUSet = "cpuset"
	SandboxPIDs   = "pids"
	SandboxIO     = "io"
)

// probeIDs is a range that root tries sandboxes with.
var probeIDs = IDRange{Base: 1 << 20, Size: 1 << 16}

// sandboxes finds out what works for sandboxes, each by running a small one.
func (p prober) sandboxes(ctx context.Context) []Rung {
	// Mostly all of it works, and one sandbox tells.
	all := p.sandbox(ctx, "all", func(sb *Sandbox) {
		sb.Shifted = os.Geteuid() != 0
		sb.Resources = Resources{Memory: 1 << 28, CPUs: 0.5, CPUSet: "0", PIDs: 100, IOWeight: 100}
	})
	if all == nil && os.Geteuid() == 0 {
		return allSandbox()
	}
	plain := p.sandbox(ctx, SandboxWorks, func(*Sandbox) {})
	rungs := []Rung{rung(SandboxWorks, plain)}
	if plain != nil {
		return rungs
	}
	mapped := errors.New("the agent is not root")
	if os.Geteuid() == 0 {
		mapped = p.sandbox(ctx, SandboxIDMap, func(sb *Sandbox) { sb.Shifted = false })
	}
	rungs = append(rungs, rung(SandboxIDMap, mapped))
	for _, limit := range []struct {
		name string
		set  Resources
	}{
		{SandboxMemory, Resources{Memory: 1 << 28}}, {SandboxCPU, Resources{CPUs: 0.5}}, {SandboxCPUSet, Resources{CPUSet: "0"}},
		{SandboxPIDs, Resources{PIDs: 100}}, {SandboxIO, Resources{IOWeight: 100}},
	} {
		err := p.sandbox(ctx, limit.name, func(sb *Sandbox) { sb.Resources = limit.set })
		rungs = append(rungs, rung(limit.name, err))
	}
	return rungs
}

// sandbox runs this program in a sandbox, whose root holds a file for it to change.
func (p prober) sandbox(ctx context.Context, name string, change func(*Sandbox)) error {
	cfg, err := p.config("s-" + name)
	if err != nil {
		return err
	}
	layer := filepath.Join(cfg.Dir, "layer")
	err = os.MkdirAll(filepath.Join(layer, "sub"), 0o755)
	if err == nil {
		err = fsx.WriteFile(filepath.Join(layer, "sub", "file"), []byte("layer"), 0o644)
	}
	for _, file := range []string{"etc/hostname", "probe"} {
		if err == nil {
			err = os.MkdirAll(filepath.Dir(filepath.Join(layer, file)), 0o755)
		}
		if err == nil {
			err = fsx.WriteFile(filepath.Join(layer, file), nil, 0o755)
		}
	}
	if err != nil {
		return err
	}
	shim, err := filepath.EvalSymlinks(p.shim)
	if err != nil {
		return err
	}
	sb := &Sandbox{
		Layers: []string{layer}, IDs: probeIDs, Shifted: true, Network: Network{Mode: NetworkHost},
		Mounts: []Mount{{Source: shim, Target: "/probe", ReadOnly: true}},
	}
	args := []string{"/probe", "probe", "change", "/sub/file"}
	if os.Geteuid() != 0 {
		ids, _, err := SubIDs()
		if err != nil {
			return err
		}
		// Files of the agent's own user are nobody's inside, and can't be changed.
		sb.IDs, args = ids, []string{"/probe", "probe", "write", "/file"}
	} else if err := own(layer, probeIDs.Base); err != nil {
		return err
	}
	change(sb)
	if !sb.Shifted {
		if err := own(layer, 0); err != nil {
			return err
		}
	}
	cfg.Sandbox, cfg.Args = sb, args
	return p.try(ctx, cfg)
}

// own gives a folder and all in it to a user and the group of that number.
func own(dir string, id int) error {
	return filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, id, id)
	})
}

// limit is a kind of limits, of which this host may be able to keep some.
type limit struct {
	rung, what string
	set        func(Resources) bool
	drop       func(*Resources)
}

var limits = []limit{
	{SandboxMemory, "memory and swap", func(r Resources) bool { return r.Memory != 0 }, func(r *Resources) { r.Memory, r.Swap = 0, 0 }},
	{SandboxCPU, "CPU time", func(r Resources) bool { return r.CPUs != 0 || r.CPUShares != 0 }, func(r *Resources) { r.CPUs, r.CPUShares = 0, 0 }},
	{SandboxCPUSet, "CPUs", func(r Resources) bool { return r.CPUSet != "" || r.MemorySet != "" }, func(r *Resources) { r.CPUSet, r.MemorySet = "", "" }},
	{SandboxPIDs, "the number of processes", func(r Resources) bool { return r.PIDs != 0 }, func(r *Resources) { r.PIDs = 0 }},
	{SandboxIO, "input and output", func(r Resources) bool { return r.IOWeight != 0 || len(r.IO) > 0 }, func(r *Resources) { r.IOWeight, r.IO = 0, nil }},
}

// Keepable is those limits of r that this host can keep, and what the others are of.
func (h Host) Keepable(r Resources) (kept Resources, lost []string) {
	kept = r
	for _, l := range limits {
		if l.set(r) && !find(h.Sandbox, l.rung).Works {
			l.drop(&kept)
			lost = append(lost, l.what)
		}
	}
	return kept, lost
}

// limited refuses limits that this host can't keep.
func (h Host) limited(r Resources) error {
	for _, l := range limits {
		if rung := find(h.Sandbox, l.rung); l.set(r) && !rung.Works {
			return errors.New("limiting " + l.what + " is not available here: " + rung.Reason)
		}
	}
	return nil
}
