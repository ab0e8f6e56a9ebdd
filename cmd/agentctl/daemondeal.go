package main

import (
	"fmt"
	"strconv"
	"strings"

	"agentctl/spec"

	"github.com/samber/lo"
)

// deal gives each queue of --dynamic-gpus workers of its own, in the order of the
// queues, as long as there are GPUs. Slots belong to workers here, not to tasks: so who
// gets what is settled once, and no task of one queue waits for the GPUs of another.
func (d *daemonRun) deal(host string, g spec.WorkerSpec, devices []string) ([]spec.WorkerSpec, error) {
	if len(devices) == 0 {
		return nil, usagef("--dynamic-gpus needs the GPUs by name, as --gpus 0-3")
	}
	var names []string
	var sizes []int
	for _, q := range d.queues {
		at := strings.LastIndexByte(q, '=')
		if at < 1 {
			return nil, usagef("with --dynamic-gpus a queue has its number of GPUs, as --queue %.40s=1", q)
		}
		least, most, ranged := strings.Cut(q[at+1:], "-")
		n, err := strconv.Atoi(least)
		switch {
		case err != nil && strings.Contains(least, "."):
			return nil, usagef("--queue %.40s: several tasks share a GPU by `shares:` of its slot in node.yaml, not by a flag", q)
		case err != nil || n < 1 || n > len(devices):
			return nil, usagef("--queue %.40s: the number of GPUs is from 1 to %d", q, len(devices))
		}
		if ranged {
			d.say("--queue %s: tasks get %d GPUs, not up to %s", q[:at], n, most)
		}
		names, sizes = append(names, q[:at]), append(sizes, n)
	}
	if len(names) == 0 {
		return nil, usagef("--dynamic-gpus needs queues, as --queue big=2 small=1")
	}
	var out []spec.WorkerSpec
	served := map[string]int{}
	for dealt := true; dealt; {
		dealt = false
		for i, q := range names {
			if sizes[i] > len(devices) {
				continue
			}
			w, part := g, devices[:sizes[i]]
			devices, dealt = devices[sizes[i]:], true
			w.Queues, w.GPUs = []string{q}, spec.GPURequest{Mode: spec.GPUsList, Devices: part}
			w.ID = host + ":gpu" + strings.Join(part, ",")
			w.Name = groupName("gpu" + strings.Join(part, "-"))
			out = append(out, w)
			served[q]++
		}
	}
	for i, q := range names {
		if served[q] == 0 {
			return nil, usagef("--queue %s=%d gets no GPU: those before it take all", q, sizes[i])
		}
	}
	d.say("--dynamic-gpus deals the GPUs once, not for each task: %s", strings.Join(lo.Map(names, func(q string, i int) string {
		return fmt.Sprintf("%s has %s of %d", q, plural(served[q], "worker"), sizes[i])
	}), ", "))
	return out, nil
}
