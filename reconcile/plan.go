package reconcile

import (
	"time"

	"agentctl/spec"
)

// Verb is what an Action does.
type Verb string

// The verbs.
const (
	Start   Verb = "start"   // make the worker
	Update  Verb = "update"  // give it new settings, from its next task on
	Drain   Verb = "drain"   // take no further task; its running one goes on
	Requeue Verb = "requeue" // end its running task and put it back into its queue
	End     Verb = "end"     // end its running task, which counts as stopped
	Stop    Verb = "stop"    // end the worker, which is idle
	Forget  Verb = "forget"  // drop the record of a worker that has stopped
	Wait    Verb = "wait"    // nothing can be done yet; Reason says what for
)

// Action is one step of a Plan.
type Action struct {
	Verb   Verb   `json:"verb"`
	Worker string `json:"worker"`
	// Spec is what the worker is to be, for Start and Update.
	Spec *spec.Worker `json:"spec,omitempty"`
	// Changes are the fields that an Update changes, by their paths in a group.
	Changes []spec.Change `json:"changes,omitempty"`
	Reason  string        `json:"reason"`
	// Slots are the GPUs that the worker has from then on, for Start and Update.
	Slots []string `json:"slots,omitempty"`
	// Task is the running task that the action concerns, Since when it has run, and
	// Until when it has ended at the latest, by its own time limit or by that of the
	// drain; zero: unknown.
	Task  string    `json:"task,omitempty"`
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// Force ends the task without a checkpoint and without a grace.
	Force bool `json:"force,omitempty"`
	// Stalled says of a Wait that what it waits for will not come by itself.
	Stalled bool `json:"stalled,omitempty"`
}

// Plan is what is to be done, in order.
type Plan struct {
	Actions []Action `json:"actions"`
	// Slots are the GPUs that change hands.
	Slots []SlotMove `json:"slots,omitempty"`
	// Wake is when to compute again though nothing happened; zero: no need to.
	Wake time.Time `json:"wake,omitzero"`
}

// Converged tells that nothing is left to do or to wait for.
func (p Plan) Converged() bool { return len(p.Actions) == 0 }

// Settled tells that nothing is left to do, though tasks may still be waited for.
func (p Plan) Settled() bool {
	for _, a := range p.Actions {
		if a.Verb != Wait {
			return false
		}
	}
	return true
}
