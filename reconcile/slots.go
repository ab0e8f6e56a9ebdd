package reconcile

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"agentctl/spec"
)

// GPU is one that was found on the node.
type GPU struct {
	Index int    `json:"index"`
	UUID  string `json:"uuid,omitempty"`
	Name  string `json:"name,omitempty"`
	// Problem says why no task may have it, Stranger which process of no task uses it.
	Problem  string `json:"problem,omitempty"`
	Stranger string `json:"stranger,omitempty"`
}

// Is tells whether a device of a spec means g.
func (g GPU) Is(device string) bool { return device == strconv.Itoa(g.Index) || device == g.UUID }

// slot is a GPU, or a share of one.
type slot struct {
	id     string // DEVICE, or DEVICE/SHARE
	device string
	shares int // of the device
}

// SlotMove is the way of a slot from one worker to another.
type SlotMove struct {
	Slot string `json:"slot"`
	From string `json:"from,omitempty"` // who has it, "" if nobody
	To   string `json:"to,omitempty"`   // who gets it, "" if nobody
	// Task that holds it until it ends, "" if it is free at once.
	Task string `json:"task,omitempty"`
}

// inventory are the slots of a node. Where nobody could look at the GPUs, those of a
// list are taken to be there, and of auto those that workers have: a driver that does
// not answer for a while must not end their tasks.
func inventory(s spec.Slots, o Observed) []slot {
	var out []slot
	add := func(device string, shares int) {
		if shares <= 1 {
			out = append(out, slot{device, device, 1})
			return
		}
		for i := range shares {
			out = append(out, slot{fmt.Sprintf("%s/%d", device, i), device, shares})
		}
	}
	switch s.Mode {
	case spec.SlotsList:
		known := map[claim]bool{} // a list may have a GPU twice, by its index and its UUID
		for _, l := range s.List {
			if c := claimOf(l.Device, o.GPUs); !known[c] && Lacking(l.Device, o.GPUs) == "" {
				known[c] = true
				add(l.Device, l.Shares)
			}
		}
	case spec.SlotsAuto:
		for _, g := range o.GPUs {
			if g.Problem == "" {
				add(fmt.Sprint(g.Index), 1)
			}
		}
		if o.GPUs == nil {
			for _, device := range devicesHad(o.Workers) {
				add(device, 1)
			}
		}
	}
	return out
}

// Lacking says why a device can't be handed out, "" if it can. NVML shows no instances
// of MIG among its GPUs.
func Lacking(device string, gpus []GPU) string {
	i := slices.IndexFunc(gpus, func(g GPU) bool { return g.Is(device) })
	switch {
	case i >= 0:
		return gpus[i].Problem
	case gpus == nil || strings.HasPrefix(device, "MIG-"):
		return ""
	}
	return "it is not on this node"
}

// devicesHad are the GPUs that workers and their tasks have.
func devicesHad(workers map[string]WorkerStatus) []string {
	var out []string
	for _, w := range workers {
		ids := w.Slots
		if w.Task != nil {
			ids = slices.Concat(ids, w.Task.Slots)
		}
		for _, id := range ids {
			device, _, _ := strings.Cut(id, "/")
			out = append(out, device)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// allocator hands out slots. Requests that leave no choice come first, then the
// workers that have what they need, then the others, each in the order of the spec:
// so nobody loses a slot without need, and the same input has the same outcome.
type allocator struct {
	slots    []slot
	gpus     []GPU
	silent   bool // which there are is not known yet
	observed map[string]WorkerStatus
	none     string              // why there are no slots
	owner    map[string]string   // slot → worker that is to have it
	task     map[string][]string // slot → workers whose tasks hold it, or some of it, now
}

func newAllocator(d Desired, o Observed) *allocator {
	a := &allocator{slots: inventory(d.Slots, o), gpus: o.GPUs, observed: o.Workers, owner: map[string]string{}, task: map[string][]string{}}
	if len(a.slots) == 0 {
		a.silent = o.GPUsSilent && d.Slots.Mode == spec.SlotsAuto
		a.none = "no GPU was found on this node; agentctl doctor tells why"
		if a.silent {
			a.none = "the driver of the GPUs does not answer; agentctl doctor tells more"
		} else if d.Slots.Mode != spec.SlotsAuto {
			a.none = "spec.gpus.slots gives it none"
		}
	}
	a.noteTasks()
	return a
}

// grant is what a worker gets, or why it gets nothing.
type grant struct {
	slots []string
	lack  string
}

// allocate gives every worker that asks for GPUs its grant.
func (a *allocator) allocate(workers []spec.Worker) map[string]grant {
	grants := map[string]grant{}
	give := func(w *spec.Worker, must bool) {
		ids, lack := a.choose(w)
		if lack != "" && !must {
			return
		}
		for _, id := range ids {
			a.owner[id] = w.Name
		}
		grants[w.Name] = grant{ids, lack}
	}
	for pass := range 3 {
		for i := range workers {
			w := &workers[i]
			if _, done := grants[w.Name]; done || asksNone(w.GPUs) {
				continue
			}
			fixed := w.GPUs.Mode == spec.GPUsList || w.GPUs.Mode == spec.GPUsAll
			switch pass {
			case 0:
				if fixed {
					give(w, true)
				}
			case 1:
				if have := a.observed[w.Name].Slots; len(have) > 0 && a.keeps(w, have) {
					give(w, false)
				}
			default:
				give(w, true)
			}
		}
	}
	return grants
}

func asksNone(g spec.GPURequest) bool { return g.Mode == "" || g.Mode == spec.GPUsNone }

// keeps tells whether a worker's present slots are what choose would give it.
func (a *allocator) keeps(w *spec.Worker, have []string) bool {
	ids, lack := a.choose(w)
	return lack == "" && slices.Equal(ids, slices.Sorted(slices.Values(have)))
}

// heldBy finds the worker whose task has one of the slots that w is to have.
func (a *allocator) heldBy(w string, ids []string) (id, holder string) {
	for _, id := range ids {
		if holder := a.holder(id, w); holder != "" {
			return id, holder
		}
	}
	return "", ""
}

// moves are the slots that change hands, in the order of the inventory.
func (a *allocator) moves() []SlotMove {
	if len(a.slots) == 0 {
		return nil
	}
	has := map[string]string{}
	for _, name := range byIndex(a.observed, every) {
		for _, id := range a.observed[name].Slots {
			has[id] = name
		}
	}
	for id, names := range a.task {
		has[id] = names[0]
	}
	var out []SlotMove
	for _, s := range a.slots {
		m := SlotMove{Slot: s.id, From: has[s.id], To: a.owner[s.id]}
		if m.From == m.To {
			continue
		}
		if holders := a.task[s.id]; len(holders) > 0 {
			m.Task = a.observed[holders[0]].Task.ID
		}
		out = append(out, m)
	}
	return out
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
