package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"agentctl/control"
	"agentctl/reconcile"
	"agentctl/runtime/gpu"

	"github.com/samber/lo"
	"github.com/spf13/cobra"
)

// tellGPUs has the pool plan anew when other GPUs are there.
func (ag *agent) tellGPUs(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ag.gpus.Changed():
			ag.pool.LookAgain()
		}
	}
}

func (ag *agent) listGPUs() control.GPUs { return gpusOf(ag.gpus.State(), ag.loop.Snapshot()) }

// gpusOf are the GPUs of a state with the workers that have them, and those that the
// spec names or workers have and nobody sees.
func gpusOf(s gpu.State, snap *reconcile.Snapshot) control.GPUs {
	out := control.GPUs{Driver: s.Driver, CUDA: s.CUDA, Problem: s.Problem, GPUs: []control.GPU{}}
	for _, g := range s.GPUs {
		out.GPUs = append(out.GPUs, control.GPU{
			Device: strconv.Itoa(g.Index), UUID: g.UUID, Name: g.Name, BusID: g.BusID, Memory: g.Memory, MIG: g.MIG, Problem: g.Problem,
			Usage: g.Figures.Usage, Temperature: g.Figures.Temperature, MemoryUsed: g.Figures.MemoryUsed, MemoryFree: g.Figures.MemoryFree,
			Holders: []control.GPUHolder{},
		})
	}
	at := func(device string) int {
		_, at, seen := lo.FindIndexOf(out.GPUs, func(g control.GPU) bool { return g.Device == device || g.UUID == device })
		if !seen {
			at = len(out.GPUs)
			out.GPUs = append(out.GPUs, control.GPU{Device: device, Holders: []control.GPUHolder{}})
		}
		return at
	}
	if snap.Node != nil {
		for _, slot := range snap.Node.Spec.GPUs.Slots.List {
			at(slot.Device)
		}
	}
	for _, w := range snap.Workers {
		task := taskOf(w)
		for _, slot := range lo.Uniq(slices.Concat(w.Slots, task.Slots)) {
			h := control.GPUHolder{Slot: slot, Worker: w.Name}
			if slices.Contains(task.Slots, slot) {
				h.Task = task.ID
			}
			device, _, _ := strings.Cut(slot, "/")
			g := &out.GPUs[at(device)]
			g.Holders = append(g.Holders, h)
		}
	}
	return out
}

func (a *app) getGPUs() *cobra.Command {
	type row = control.GPU
	return listCmd(a, kind[row]{
		use: "gpus", short: "Show the GPUs, what they do, and which worker and task has them", aliases: []string{"gpu"}, noun: "GPUs",
		example: "  agentctl get gpus\n  agentctl get gpus 0 -o json",
		name:    func(g row) string { return g.Device },
		columns: []column[row]{
			{head: "GPU", cell: func(g row, _ time.Time) string { return g.Device }},
			{head: "NAME", cell: func(g row, _ time.Time) string { return cut(g.Name, 30) }},
			{head: "MEMORY", cell: func(g row, _ time.Time) string { return memoryOf(g) }},
			{head: "USE", cell: func(g row, _ time.Time) string { return unlessUnseen(g, "%.0f%%", g.Usage) }},
			{head: "WORKER", cell: func(g row, _ time.Time) string {
				return joinHolders(g, func(h control.GPUHolder) string { return h.Worker })
			}},
			{head: "TASK", cell: func(g row, _ time.Time) string {
				return joinHolders(g, func(h control.GPUHolder) string { return h.Task })
			}},
			{head: "TEMPERATURE", wide: true, cell: func(g row, _ time.Time) string { return unlessUnseen(g, "%.0f°C", g.Temperature) }},
			{head: "UUID", wide: true, cell: func(g row, _ time.Time) string { return g.UUID }},
			{head: "BUS", wide: true, cell: func(g row, _ time.Time) string { return g.BusID }},
			{head: "PROBLEM", cell: func(g row, _ time.Time) string { return cut(g.Problem, 80) }},
		},
		follow: func(ctx context.Context, watching bool, see func([]row) error) error {
			c := a.client()
			defer c.Close()
			return poll(ctx, watching, func() error {
				found, err := c.GPUs(ctx)
				if err != nil {
					return err
				}
				if found.Problem != "" && len(found.GPUs) == 0 && !watching {
					a.say("%s", found.Problem)
				}
				return see(found.GPUs)
			})
		},
	})
}

func joinHolders(g control.GPU, of func(control.GPUHolder) string) string {
	return cut(strings.Join(lo.Compact(lo.Map(g.Holders, func(h control.GPUHolder, _ int) string { return of(h) })), ","), 60)
}

// memoryOf is what is used of all.
func memoryOf(g control.GPU) string {
	if g.Memory == 0 {
		return ""
	}
	return bytesOf(int64(g.MemoryUsed)) + "/" + bytesOf(int64(g.Memory)) //nolint:gosec // bytes of a GPU fit
}

// unlessUnseen is a figure of a GPU that the driver shows.
func unlessUnseen(g control.GPU, format string, figure float64) string {
	if g.UUID == "" || g.Problem != "" {
		return ""
	}
	return fmt.Sprintf(format, figure)
}

func (a *app) describeGPU() *cobra.Command {
	return &cobra.Command{
		Use: "gpu DEVICE", Short: "Tell all about a GPU: an index or a UUID", Example: "  agentctl describe gpu 0", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c := a.client()
			defer c.Close()
			all, err := c.GPUs(cmd.Context())
			if err != nil {
				return err
			}
			g, ok := lo.Find(all.GPUs, func(g control.GPU) bool { return g.Device == args[0] || g.UUID == args[0] })
			if !ok {
				return fmt.Errorf("there is no GPU %q on this node", args[0])
			}
			p := newPage(a.Stdout, time.Now())
			p.gpu(g, all)
			return p.w.Flush()
		},
	}
}

func (p *page) gpu(g control.GPU, all control.GPUs) {
	p.line("GPU", "%s", g.Device)
	p.line("Name", "%s", g.Name)
	p.line("UUID", "%s", g.UUID)
	p.line("Bus", "%s", g.BusID)
	p.line("Problem", "%s", g.Problem)
	p.line("Memory used", "%s", memoryOf(g))
	p.line("Use", "%s", unlessUnseen(g, "%.0f%%", g.Usage))
	p.line("Temperature", "%s", unlessUnseen(g, "%.0f°C", g.Temperature))
	p.line("Driver", "%s", all.Driver)
	p.line("CUDA", "%s", all.CUDA)
	p.line("NVML", "%s", all.Problem)
	if len(g.Holders) == 0 {
		return
	}
	p.section("Held by")
	fmt.Fprintln(p.w, "  SLOT\tWORKER\tTASK")
	for _, h := range g.Holders {
		fmt.Fprintln(p.w, "  "+printableCells([]string{h.Slot, h.Worker, h.Task}))
	}
}
