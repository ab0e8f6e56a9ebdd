package reconcile

import (
	"fmt"
	"slices"

	"agentctl/spec"
)

// Codes of a Danger.
const (
	DangerNoWorkers = "NoWorkers"         // no worker is left, and the spec does not say so by workers: []
	DangerNoQueue   = "NoQueueLeft"       // none of the queues is served any more
	DangerServer    = "ServerUnreachable" // the new server does not answer
)

// Flags of apply that say a danger is meant.
const (
	AllowEmpty  = "--allow-empty"
	AllowServer = "--allow-server-change"
)

// Danger is a change that is seldom meant, and hard to take back.
type Danger struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	// Allow is the flag of apply that says it is meant; "" if it is only a warning.
	Allow string `json:"allow,omitempty"`
}

// Dangers of going from one spec to another, both with their defaults; from may be
// nil. It can't see whether a server answers.
func Dangers(from, to *spec.Node) []Danger {
	var out []Danger
	if d, held := heldBack(from, to); held {
		return append(out, d)
	}
	before, after := served(from), served(to)
	switch {
	case len(before) > 0 && len(to.Spec.Workers) == 0:
		out = append(out, Danger{Code: DangerNoWorkers, Message: "the node will run no worker any more: workers: [] says so"})
	case len(before) > 0 && !slices.ContainsFunc(before, func(q string) bool { return slices.Contains(after, q) }):
		out = append(out, Danger{Code: DangerNoQueue, Message: fmt.Sprintf("none of the queues that are served now will be: %s", some(before))})
	}
	return out
}

// heldBack tells that a spec takes the last worker away without saying so: groups are
// there, but each has a count of 0, as a template makes it that got no number.
func heldBack(from, to *spec.Node) (Danger, bool) {
	if from == nil || len(spec.Expand(from)) == 0 || len(to.Spec.Workers) == 0 || len(spec.Expand(to)) > 0 {
		return Danger{}, false
	}
	return Danger{
		Code: DangerNoWorkers, Allow: AllowEmpty,
		Message: "every group has a count of 0, which would leave the node without workers; if that is meant, write workers: [], or apply with " + AllowEmpty,
	}, true
}

// served are the queues that have a worker.
func served(n *spec.Node) (queues []string) {
	if n == nil {
		return nil
	}
	for _, w := range spec.Expand(n) {
		queues = append(queues, w.Queues...)
	}
	slices.Sort(queues)
	return slices.Compact(queues)
}
