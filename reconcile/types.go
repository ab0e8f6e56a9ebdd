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
	StateStopped   WorkerState = "stopped"   // takes no task any more and can be forgotten
)

// Why a free worker takes no task, as WorkerStatus.Code.
const (
	HeldByDisk   = "DiskFull"     // less is free than cache.minFree
	HeldByGPU    = "GPUHeld"      // a task of another worker has its GPU
	HeldByOther  = "GPUStranger"  // a process of no task uses its GPU
	HeldByWindow = "WindowClosed" // it is outside of its windows
	HeldByLimit  = "QueueLimit"   // as many tasks of its queues run as may
	HeldByQueue  = "NoSuchQueue"  // the server does not have its queue
	HeldByError  = "BackOff"      // the last task could not be taken
	HeldByOnce   = "Once"         // the agent was told to run one task for each worker
)

// WorkerStatus is one worker as it is now.
type WorkerStatus struct {
	Name  string      `json:"name"`
	Spec  spec.Worker `json:"spec"`
	State WorkerState `json:"state"`
	// Draining is set by a plan on a worker that goes when its task has ended.
	Draining bool `json:"draining,omitempty"`
	// DrainingSince is when that began, which an agent's death does not change.
	DrainingSince time.Time `json:"drainingSince,omitzero"`
	// Order is set by an operator (cordon, drain) on a worker that is to take no
	// task. It is a fact that a plan neither sets nor clears.
	Order *Order    `json:"order,omitempty"`
	Since time.Time `json:"since"`
	// Slots are the GPUs that its next task gets, by their names in the plan.
	Slots []string `json:"slots,omitempty"`
	// Served counts the tasks that ended since the worker was started.
	Served int `json:"served,omitempty"`
	// Message says why the worker takes no task though it is free, Code the same in one
	// word, and Until when that is over by itself; zero: nobody knows.
	Message string      `json:"message,omitempty"`
	Code    string      `json:"code,omitempty"`
	Until   time.Time   `json:"until,omitzero"`
	Task    *TaskStatus `json:"task,omitempty"`
	// Ahead is the task whose environment is being made while the worker is busy.
	Ahead string      `json:"ahead,omitempty"`
	Last  *TaskStatus `json:"last,omitempty"`
	// Conditions are the loop's; a Runner leaves them empty.
	Conditions []Condition `json:"conditions,omitempty"`
}

// DrainOwn is the policy of an Order by which each worker drains as its own settings
// say.
const DrainOwn = "own"

// Order is an operator's word on a worker: it takes no task until it is taken back.
type Order struct {
	// Policy is what becomes of its running task, as spec.DrainFinish, or DrainOwn; ""
	// leaves the task alone.
	Policy string `json:"policy,omitempty"`
	// Deadline is when a task that is waited for is put back into its queue; zero: never.
	Deadline time.Time `json:"deadline,omitzero"`
	// Force ends the task without a checkpoint and without a grace.
	Force bool `json:"force,omitempty"`
	// UntilReboot says of a node's order that the next start of the machine ends it.
	UntilReboot bool      `json:"untilReboot,omitempty"`
	Reason      string    `json:"reason,omitempty"`
	Since       time.Time `json:"since"`
}

// Cordoned tells that an operator lets the worker take no task.
func (w WorkerStatus) Cordoned() bool { return w.Order != nil }

// busy tells that a task would be hurt if the worker went now.
func (w WorkerStatus) busy() bool {
	switch w.State {
	case StateLeasing, StatePreparing, StateRunning:
		return true
	case StateIdle, StateStopped:
	}
	return w.Task != nil
}

// TaskStatus is one task that runs here, or ran here.
type TaskStatus struct {
	ID     string `json:"id"`
	Name   string `json:"name,omitempty"`
	Worker string `json:"worker"`
	Queue  string `json:"queue"`
	// Phase is the step that the task is at, or the last one it reached.
	Phase string `json:"phase"`
	// Done and Total are bytes, while the step is a download; Total is 0 as long as it
	// is not known.
	Done  int64 `json:"done,omitempty"`
	Total int64 `json:"total,omitempty"`
	// Doing is what the step said last, and Waiting that it waits for another process.
	Doing   string `json:"doing,omitempty"`
	Waiting bool   `json:"waiting,omitempty"`
	// Status, Reason and Message are what the server was told, or will be.
	Status  string    `json:"status"`
	Reason  string    `json:"reason,omitempty"`
	Message string    `json:"message,omitempty"`
	Leased  time.Time `json:"leased"`
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	// Deadline is when the task is ended at the latest, by the maxRuntime that it
	// was started with; zero: never.
	Deadline time.Time `json:"deadline,omitzero"`
	// Slots are the GPUs that it has.
	Slots []string `json:"slots,omitempty"`
	// Ending is the policy by which it is being ended, "" if it is not.
	Ending string `json:"ending,omitempty"`
	// Environment is "hit", "built" or "given" (packageManager.useInterpreter); empty before it is known.
	Environment string `json:"environment,omitempty"`
	EnvKey      string `json:"envKey,omitempty"`
	// LockKey is the key of what the environment was resolved to; environments made of
	// one lock share it, whatever they were asked for by.
	LockKey string `json:"lockKey,omitempty"`
	// Manager that made the environment, and Why it was a hit or was built.
	Manager     string `json:"manager,omitempty"`
	Why         string `json:"why,omitempty"`
	Commit      string `json:"commit,omitempty"`
	Containment string `json:"containment,omitempty"`
	MountNS     string `json:"mountNS,omitempty"`
	// Image is what a task of mode sandbox runs in, ImageDigest that of its manifest.
	Image       string `json:"image,omitempty"`
	ImageDigest string `json:"imageDigest,omitempty"`
	// Rule of spec.sandbox.rules that fits the task.
	Rule string `json:"rule,omitempty"`
	// Network and User are the sandbox's; HostUser is the number of the user on the host.
	Network  string `json:"network,omitempty"`
	User     string `json:"user,omitempty"`
	HostUser int    `json:"hostUser,omitempty"`
	// Sandbox is how the task came to its sandbox: "ahead", one that waited for it,
	// "beside", made beside its environment and its code, or "cold", made after them.
	Sandbox  string      `json:"sandbox,omitempty"`
	Times    []PhaseTime `json:"times,omitempty"`
	ExitCode *int        `json:"exitCode,omitempty"`
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
	// GPUs that were found; nil if nobody could look. GPUsSilent says that there may be
	// some all the same: the driver has not answered yet.
	GPUs       []GPU
	GPUsSilent bool
	// Ended are the last tasks that ended, newest first.
	Ended []TaskStatus
}
