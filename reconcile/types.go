package reconcile

import (
	"time"

	"agentctl/spec"
)

// WorkerState is what a worker is doing.
type WorkerState string

// States of a worker.
const (
	StateIdle      WorkerState = "idle"      // looks for a task, or may not take one
	StateLeasing   WorkerState = "leasing"   // takes a task off its queue
	StatePreparing WorkerState = "preparing" // makes the task's environment
	StateRunning   WorkerState = "running"   // the task runs
)

// WorkerStatus is one worker as it is now.
type WorkerStatus struct {
	Name  string      `json:"name"`
	Spec  spec.Worker `json:"spec"`
	State WorkerState `json:"state"`
	// Draining is set on a worker that goes when its task has ended.
	Draining bool `json:"draining,omitempty"`
	// Cordoned is set on a worker that an operator told to take no task.
	Cordoned bool      `json:"cordoned,omitempty"`
	Since    time.Time `json:"since"`
	// Message says why the worker takes no task though it is free.
	Message string      `json:"message,omitempty"`
	Task    *TaskStatus `json:"task,omitempty"`
	Last    *TaskStatus `json:"last,omitempty"`
}

// TaskStatus is one task that runs here, or ran here.
type TaskStatus struct {
	ID     string `json:"id"`
	Name   string `json:"name,omitempty"`
	Worker string `json:"worker"`
	Queue  string `json:"queue"`
	// Phase is the step that the task is at, or the last one it reached.
	Phase string `json:"phase"`
	// Status, Reason and Message are what the server was told, or will be.
	Status  string    `json:"status"`
	Reason  string    `json:"reason,omitempty"`
	Message string    `json:"message,omitempty"`
	Leased  time.Time `json:"leased"`
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	// Environment is "hit" or "built"; empty before it is known.
	Environment string      `json:"environment,omitempty"`
	EnvKey      string      `json:"envKey,omitempty"`
	Commit      string      `json:"commit,omitempty"`
	Containment string      `json:"containment,omitempty"`
	MountNS     string      `json:"mountNS,omitempty"`
	Times       []PhaseTime `json:"times,omitempty"`
	ExitCode    *int        `json:"exitCode,omitempty"`
}

// PhaseTime is how long one part of a task's way took, in nanoseconds.
type PhaseTime struct {
	Name string        `json:"name"`
	Took time.Duration `json:"took"`
}

// ServerStatus is the server that tasks come from, as last seen.
type ServerStatus struct {
	URL       string    `json:"url"`
	Reachable bool      `json:"reachable"`
	Error     string    `json:"error,omitempty"`
	Since     time.Time `json:"since,omitzero"`
}

// Observed is what runs on the node.
type Observed struct {
	Workers map[string]WorkerStatus
	Server  ServerStatus
	// Ended are the last tasks that ended, newest first.
	Ended []TaskStatus
}

// Verb is what an Action does.
type Verb string

// The verbs.
const (
	Start  Verb = "start"  // make the worker
	Update Verb = "update" // give it new settings, from its next task on
	Drain  Verb = "drain"  // take no further task; its running one goes on
	Stop   Verb = "stop"   // remove the worker, which is idle
	Wait   Verb = "wait"   // nothing can be done yet; Reason says what for
)

// Action is one step of a Plan.
type Action struct {
	Verb   Verb   `json:"verb"`
	Worker string `json:"worker"`
	// Spec is what the worker is to be, for Start and Update.
	Spec   *spec.Worker `json:"spec,omitempty"`
	Reason string       `json:"reason"`
	// Task is the running task that the action concerns.
	Task string `json:"task,omitempty"`
}

// Plan is what is to be done, in order.
type Plan struct {
	Actions []Action `json:"actions"`
}

// Converged tells that nothing is left to do or to wait for.
func (p Plan) Converged() bool { return len(p.Actions) == 0 }

// Condition types of the node.
const (
	SpecAccepted = "SpecAccepted"
	Ready        = "Ready"
	Reconciling  = "Reconciling" // only while true
	Stalled      = "Stalled"     // only while true
)

// Condition is one statement about the node, in the form Kubernetes made usual.
type Condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"` // True, False or Unknown
	Reason  string `json:"reason"`
	Message string `json:"message,omitempty"`
	// Since is when Status last changed.
	Since time.Time `json:"since"`
	// Revision is the digest of the spec that the condition speaks of.
	Revision string `json:"revision,omitempty"`
}

// Revision is one spec text.
type Revision struct {
	Number int64     `json:"number,omitempty"` // of accepted ones, from 1
	Digest string    `json:"digest,omitempty"` // sha256, in hex
	Origin Origin    `json:"origin,omitzero"`
	Time   time.Time `json:"time,omitzero"`
}

// Origin is where a spec came from.
type Origin struct {
	// Kind is "file" or "pinned".
	Kind string `json:"kind"`
	// Path is the file, or what the pinned text was called.
	Path string `json:"path,omitempty"`
}

// Snapshot is the whole state of the node at one moment. It is never changed
// after it was published.
type Snapshot struct {
	Time time.Time `json:"time"`
	Name string    `json:"name"`
	// Node is the accepted spec with all defaults, or nil before there is one.
	Node *spec.Node `json:"node,omitempty"`
	// Generation counts accepted specs since the agent's start; the plan of
	// ObservedGeneration has been carried out, but for what waits.
	Generation         int64          `json:"generation"`
	ObservedGeneration int64          `json:"observedGeneration"`
	LastAttempted      Revision       `json:"lastAttempted,omitzero"`
	LastApplied        Revision       `json:"lastApplied,omitzero"`
	Conditions         []Condition    `json:"conditions"`
	Workers            []WorkerStatus `json:"workers"`
	// Tasks are those that run, then those that ended, newest first.
	Tasks  []TaskStatus `json:"tasks"`
	Plan   Plan         `json:"plan"`
	Server ServerStatus `json:"server"`
	// Warnings of the accepted spec.
	Warnings spec.Problems `json:"warnings,omitempty"`
}

// Condition returns the condition of that type; false if it is not there.
func (s *Snapshot) Condition(kind string) (Condition, bool) {
	for _, c := range s.Conditions {
		if c.Type == kind {
			return c, true
		}
	}
	return Condition{}, false
}
