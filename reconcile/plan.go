package reconcile

import (
	"time"

	"agentctl/spec"
)

// Verb is what an Action does.
type Verb string

// The verbs.
const (
	Start  Verb = "start"  // make the worker
	Update Verb = "update" // give it new settings, from its next task on
	Drain  Verb = "drain"  // take no further task; its running one goes on
	Stop   Verb = "stop"   // end the worker, which is idle
	Forget Verb = "forget" // drop the record of a worker that has stopped
	Wait   Verb = "wait"   // nothing can be done yet; Reason says what for
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
	// Task is the running task that the action concerns.
	Task string `json:"task,omitempty"`
	// Until is when what a Wait waits for has ended at the latest; zero: unknown.
	Until time.Time `json:"until,omitzero"`
}

// Plan is what is to be done, in order.
type Plan struct {
	Actions []Action `json:"actions"`
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
