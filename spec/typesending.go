package spec

// Policies for tasks that the node failed.
const (
	InfrastructureReport  = "report"
	InfrastructureRequeue = "requeue"
)

// OnInfrastructureFailure says what becomes of a task that the node failed.
type OnInfrastructureFailure struct {
	// report (it ends as stopped, or as failed if it never began, and its reason says so) or requeue (back into its queue, straight from in_progress).
	Policy string `yaml:"policy,omitempty" json:"policy,omitempty"`
	// With requeue: how often a task is started in all, by whatever node, before its end is reported. Who enqueues it anew begins the count anew.
	Attempts int `yaml:"attempts,omitempty" json:"attempts,omitempty"`
}

// Drain policies.
const (
	DrainFinish  = "finish"
	DrainRequeue = "requeue"
	DrainStop    = "stop"
)

// Drain says what happens to the running task of a worker that goes.
type Drain struct {
	// finish (wait for its end), requeue or stop.
	Policy string `yaml:"policy,omitempty" json:"policy,omitempty"`
	// Longest wait of the policy finish; a task that still runs then is put back into its queue.
	// Left out: no limit.
	Deadline Duration `yaml:"deadline,omitempty" json:"deadline,omitempty"`
	// How a task that asked for it (hyperparameter agentctl/checkpoint) is told to save its
	// state before it is requeued or stopped.
	Checkpoint Checkpoint `yaml:"checkpoint,omitempty" json:"checkpoint,omitzero"`
}

// CheckpointSignals are those by which a task can be told to save its state.
var CheckpointSignals = []string{"SIGUSR1", "SIGUSR2", "SIGINT", "SIGHUP"}

// Checkpoint tells a task to save its state.
type Checkpoint struct {
	// Signal that those of its processes get that handle it.
	Signal string `yaml:"signal,omitempty" json:"signal,omitempty"`
	// Longest wait for its end after that; then it is stopped as any other.
	Grace Duration `yaml:"grace,omitempty" json:"grace,omitempty"`
}
