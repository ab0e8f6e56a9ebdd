package spec

import (
	"fmt"
	"math"
	"reflect"
)

// request checks a GPU request, which may also have been made by a program.
func (d *decoder) request(g GPURequest, path string) {
	switch g.Mode {
	case GPUsNone, GPUsAll:
	case GPUsCount:
		if g.Count < 1 || g.Count > maxGPUs {
			d.semantic(path, SeverityError, fmt.Sprintf("%d is out of range", g.Count), gpusFix)
		}
	case GPUsShare:
		if math.IsNaN(g.Share) || g.Share < 0.01 || g.Share > 0.99 {
			d.semantic(path, SeverityError, "is not a share of 0.01 to 0.99", gpusFix)
		}
	case GPUsList:
		if len(g.Devices) == 0 {
			d.semantic(path, SeverityError, "is an empty list", "write none, or the devices, as [0, 1]")
		}
		d.list(reflect.ValueOf(g.Devices), path, rule{each: &rule{form: deviceForm, fix: deviceFix}, unique: true})
	default:
		d.semantic(path, SeverityError, quote(g.Mode)+" is not known", gpusFix)
	}
}

// slots checks the list of slots: no GPU twice.
func (d *decoder) slots(s Slots, path string) {
	switch s.Mode {
	case SlotsAuto, SlotsNone:
		return
	case SlotsList:
	default:
		d.semantic(path, SeverityError, quote(s.Mode)+" is not known", slotsFix)
		return
	}
	if len(s.List) == 0 {
		d.semantic(path, SeverityError, "is an empty list", "write none, auto or the slots, as [{device: 0}]")
	}
	d.list(reflect.ValueOf(s.List), path, rule{})
	seen := map[string]int{}
	for i, slot := range s.List {
		at := fmt.Sprintf("%s[%d].device", path, i)
		if slot.Device == "" || d.failed[at] {
			continue
		}
		if first, twice := seen[slot.Device]; twice {
			d.semantic(at, SeverityError, fmt.Sprintf("%s is a slot already, in %s[%d]", quote(slot.Device), path, first),
				"delete one of them, or write shares for tasks that share it")
			continue
		}
		seen[slot.Device] = i
	}
}

// workers checks what concerns several groups: names and the total.
func (d *decoder) workers(groups []WorkerSpec, node string) {
	seen := map[string]int{}
	total, wrong := 0, false // wrong counts are told already
	for i, g := range groups {
		total += count(g)
		wrong = wrong || count(g) < 0 || count(g) > maxWorkers
		at := fmt.Sprintf("spec.workers[%d]", i)
		d.mode(&g, at)
		d.environment(&g, at)
		at += ".name"
		if g.Name == "" || d.failed[at] {
			continue
		}
		if first, twice := seen[g.Name]; twice {
			d.semantic(at, SeverityError, fmt.Sprintf("%s is the name of spec.workers[%d] already", quote(g.Name), first),
				"give each group of workers a name of its own")
			continue
		}
		seen[g.Name] = i
	}
	if !wrong && total > maxWorkers {
		d.semantic("spec.workers", SeverityError, fmt.Sprintf("the counts make %d workers", total), fmt.Sprintf("write at most %d in all", maxWorkers))
	}
	if !wrong && total <= maxWorkers {
		d.workerIDs(groups, node)
	}
}

// workerIDs finds ids that two workers would have: the server would take them for one.
func (d *decoder) workerIDs(groups []WorkerSpec, node string) {
	owner := map[string]int{}
	for i, g := range groups {
		if g.ID == "" && node != "" {
			for n := range count(g) {
				owner[g.workerID(node, n)] = i
			}
		}
	}
	for i, g := range groups {
		at := fmt.Sprintf("spec.workers[%d].id", i)
		if g.ID == "" || d.failed[at] {
			continue
		}
		for n := range count(g) {
			id := g.workerID(node, n)
			if first, taken := owner[id]; taken && first != i {
				d.semantic(at, SeverityError, fmt.Sprintf("a worker of spec.workers[%d] has the id %s already", first, quote(id)), "write another id, or leave it out")
				break
			}
			owner[id] = i
		}
	}
}

// count is how many workers a group has.
func count(g WorkerSpec) int {
	if g.Count == nil {
		return 1
	}
	return *g.Count
}

// queues finds limits of queues that stand twice, or that limit nothing.
func (d *decoder) queues(n *Node) {
	served, seen := map[string]bool{}, map[string]int{}
	for _, w := range n.Spec.Workers {
		for _, q := range w.Queues {
			served[q] = true
		}
	}
	for i, q := range n.Spec.QueueLimits {
		at := fmt.Sprintf("spec.queueLimits[%d].name", i)
		if first, twice := seen[q.Name]; twice {
			d.semantic(at, SeverityError, fmt.Sprintf("is the same as that of spec.queueLimits[%d]", first), "delete one of them")
			continue
		}
		seen[q.Name] = i
		if !served[q.Name] && q.Name != "" {
			d.semantic(at, SeverityWarning, "no worker serves the queue "+quote(q.Name), "write its name as the workers do, or delete the limit")
		}
	}
}
