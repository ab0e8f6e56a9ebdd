package spec

// APIVersion and Kind are the only values a node.yaml may carry.
const (
	APIVersion = "agentctl/v1"
	KindNode   = "Node"
)

// Node is one node.yaml: the desired state of one machine.
type Node struct {
	// Version of this format; always "agentctl/v1".
	APIVersion string `yaml:"apiVersion" json:"apiVersion"`
	// Kind of the document; always "Node".
	Kind string `yaml:"kind" json:"kind"`
	// Name and labels of the machine.
	Metadata Metadata `yaml:"metadata,omitempty" json:"metadata,omitzero"`
	// The machines that the document is for, beside the one that has its name.
	Match *Match `yaml:"match,omitempty" json:"match,omitempty"`
	// What the machine is to run.
	Spec NodeSpec `yaml:"spec" json:"spec"`
}

// Metadata names a node.
type Metadata struct {
	// Name of the node, part of each worker's id on the server: lower-case letters, digits, - and dots.
	// Left out: the host name.
	Name string `yaml:"name,omitempty" json:"name,omitempty"`
	// Free labels, for selecting documents and for people.
	Labels map[string]string `yaml:"labels,omitempty" json:"labels,omitempty"`
}

// NodeSpec is the desired state of one machine.
type NodeSpec struct {
	// The ClearML server to take tasks from; left out: the embedded server on this machine.
	Server Server `yaml:"server,omitempty" json:"server,omitzero"`
	// The GPU slots of this machine.
	GPUs GPUs `yaml:"gpus,omitempty" json:"gpus,omitzero"`
	// The workers. To run none, write `workers: []`; a missing list is an error.
	Workers []WorkerSpec `yaml:"workers" json:"workers"`
	// Limits of queues, over all workers of this node.
	QueueLimits []QueueLimit `yaml:"queueLimits,omitempty" json:"queueLimits,omitempty"`
	// Settings of the package manager for all workers.
	PackageManager PackageManager `yaml:"packageManager,omitempty" json:"packageManager,omitzero"`
	// How the git repositories of tasks are reached.
	Git Git `yaml:"git,omitempty" json:"git,omitzero"`
	// Limits of the environment cache.
	Cache Cache `yaml:"cache,omitempty" json:"cache,omitzero"`
	// Settings of the sandbox for all workers with `mode: sandbox`.
	Sandbox Sandbox `yaml:"sandbox,omitempty" json:"sandbox,omitzero"`
}

// QueueLimit limits what this node takes of a queue.
type QueueLimit struct {
	// Name or id of the queue, as the workers have it.
	Name string `yaml:"name" json:"name"`
	// Tasks of the queue at once, over all workers of this node.
	MaxRunning int `yaml:"maxRunning" json:"maxRunning"`
}

// Server is the ClearML server that tasks come from.
type Server struct {
	// URL of the API server; left out: the embedded server.
	URL string `yaml:"url,omitempty" json:"url,omitempty"`
	// URL of the web application, for links. Left out: by ClearML's custom, as the API server with port 8080, or app. for api.
	WebURL string `yaml:"webUrl,omitempty" json:"webUrl,omitempty"`
	// URL of the file server, to which tasks upload. Left out: by ClearML's custom, as the API server with port 8081, or files. for api.
	FilesURL string `yaml:"filesUrl,omitempty" json:"filesUrl,omitempty"`
	// JSON file with the keys, as {"access_key": "…", "secret_key": "…"}. It is read each time
	// they are used, so that they can be changed while the agent runs.
	CredentialsFile string `yaml:"credentialsFile,omitempty" json:"credentialsFile,omitempty"`
	// Time between two looks at the queues of a server that can't wait for a task, of 200ms to 1h.
	// The embedded server tells of a task at once.
	PollInterval Duration `yaml:"pollInterval,omitempty" json:"pollInterval,omitempty"`
	// How long the embedded server keeps console lines, of 1h to 10 years. A console says how many
	// it has lost. Left out: as long as their task.
	LogAge Duration `yaml:"logAge,omitempty" json:"logAge,omitempty"`
	// Bytes that the consoles of all tasks may take on the embedded server, compressed; the oldest
	// lines go first. Left out: no limit.
	LogSize Size `yaml:"logSize,omitempty" json:"logSize,omitempty"`
}

// GPUs lists the GPU slots of a node.
type GPUs struct {
	// auto (each GPU that NVML shows, whole), a list of slots, or none: no task gets a GPU.
	Slots Slots `yaml:"slots,omitempty" json:"slots,omitzero"`
}

// Slot modes of a node.
const (
	SlotsAuto = "auto"
	SlotsNone = "none"
	SlotsList = "list"
)

// Slots is `auto`, `none` or a list of slots.
type Slots struct {
	// Mode is SlotsAuto, SlotsNone or SlotsList.
	Mode string `yaml:"-" json:"-"`
	List []Slot `yaml:"-" json:"-"`
}

// Slot is one GPU or a part of one.
type Slot struct {
	// Index or UUID of a GPU, or the UUID of a MIG instance; each once.
	Device string `yaml:"device" json:"device"`
	// Tasks that share the GPU at once. What each may use of it is not limited.
	Shares int `yaml:"shares,omitempty" json:"shares,omitempty"`
}

// GPU requests of a worker.
const (
	GPUsNone  = "none"
	GPUsAll   = "all"
	GPUsCount = "count"
	GPUsShare = "share"
	GPUsList  = "list"
)

// GPURequest is what each task of a worker gets: a count, a share of one GPU, a
// list of devices, `all` or `none`.
type GPURequest struct {
	// Mode is GPUsNone, GPUsAll, GPUsCount, GPUsShare or GPUsList.
	Mode    string   `yaml:"-" json:"-"`
	Count   int      `yaml:"-" json:"-"`
	Share   float64  `yaml:"-" json:"-"`
	Devices []string `yaml:"-" json:"-"`
}

// Orders between the queues of a worker.
const (
	OrderPriority   = "priority"
	OrderRoundRobin = "roundRobin"
)

// Modes of a worker.
const (
	ModeVenv    = "venv"
	ModeSandbox = "sandbox"
)

// WorkerSpec is a group of equal workers that serve the same queues.
type WorkerSpec struct {
	// Name of the group, of lower-case letters, digits and -; its workers are NAME/0, NAME/1, ….
	Name string `yaml:"name" json:"name"`
	// Worker id on the server, which no other worker of the node may have; with a count above 1 each has :INDEX behind it.
	// Left out: NODE:GROUP:INDEX.
	ID string `yaml:"id,omitempty" json:"id,omitempty"`
	// Queues, by name or id; the first is served first.
	Queues []string `yaml:"queues" json:"queues"`
	// Whether queues that a ClearML Server does not have are created there; the embedded server creates them always.
	CreateQueues bool `yaml:"createQueues,omitempty" json:"createQueues,omitempty"`
	// Tags that the workers show on the server.
	Tags []string `yaml:"tags,omitempty" json:"tags,omitempty"`
	// priority takes from a queue only while those before it are empty; roundRobin lets them take turns.
	Order string `yaml:"order,omitempty" json:"order,omitempty"`
	// Workers of the group, which is tasks at once. With 0 the group stands by.
	Count *int `yaml:"count,omitempty" json:"count,omitempty"`
	// GPUs of each task: a count, a share of one that is shared (0.25), a list ([0, 1]), all (of
	// the node, or none where there are none) or none. A task sees no others.
	GPUs GPURequest `yaml:"gpus,omitempty" json:"gpus,omitzero"`
	// How a task is run: venv (a process of the host) or sandbox (in an image, apart from the host and from other tasks).
	Mode string `yaml:"mode,omitempty" json:"mode,omitempty"`
	// Image of the tasks of a worker with `mode: sandbox`; overrides `spec.sandbox.defaultImage`.
	Image string `yaml:"image,omitempty" json:"image,omitempty"`
	// Settings of the sandbox of a worker with `mode: sandbox`, over those of the node.
	Sandbox WorkerSandbox `yaml:"sandbox,omitempty" json:"sandbox,omitzero"`
	// Overrides the node's `spec.packageManager`, field by field; an empty list takes away the node's list.
	PackageManager PackageManager `yaml:"packageManager,omitempty" json:"packageManager,omitzero"`
	// Limits of each task of a worker with `mode: sandbox`, which it may lower for itself; what is left out is not limited.
	Resources Resources `yaml:"resources,omitempty" json:"resources,omitzero"`
	// Longest run of a task; it is stopped and reported as failed after it. Left out: no limit.
	MaxRuntime Duration `yaml:"maxRuntime,omitempty" json:"maxRuntime,omitempty"`
	// Time between SIGTERM and SIGKILL when a task is stopped, of 100ms to 24h.
	StopGrace Duration `yaml:"stopGrace,omitempty" json:"stopGrace,omitempty"`
	// Longest wait for the abort callback that a task has registered with the SDK, before a task that a user aborts is stopped.
	AbortCallback Duration `yaml:"abortCallback,omitempty" json:"abortCallback,omitempty"`
	// What happens to running tasks when a worker goes.
	Drain Drain `yaml:"drain,omitempty" json:"drain,omitzero"`
	// When the workers take tasks; a task that runs when a window closes goes on. Left out: always.
	Windows []Window `yaml:"windows,omitempty" json:"windows,omitempty"`
	// Tasks after which a worker starts anew, with nothing left of what it kept ready. Left out: never.
	MaxTasks int `yaml:"maxTasks,omitempty" json:"maxTasks,omitempty"`
	// What becomes of a task that the node failed: the process that held it was killed, the machine was restarted, or its image could not be fetched
	// for the network.
	OnInfrastructureFailure OnInfrastructureFailure `yaml:"onInfrastructureFailure,omitempty" json:"onInfrastructureFailure,omitzero"`
	// User, by name or number, that runs the tasks of a worker with `mode: venv` under an agent that is root.
	// Left out: the user agentctl if there is one, else nobody. Root only when written.
	RunAs string `yaml:"runAs,omitempty" json:"runAs,omitempty"`
	// Environment variables of tasks in both modes, none of them secret; they count over `spec.sandbox.arguments.env`. What the agent itself sets, and what
	// a task asks for, counts over them.
	Environment map[string]string `yaml:"environment,omitempty" json:"environment,omitempty"`
	// Names of variables that tasks get from the agent's own environment: for secrets, which are never in this file.
	HostEnvironment []string `yaml:"hostEnvironment,omitempty" json:"hostEnvironment,omitempty"`
	// Whether a task's hyperparameters of the section Environment become variables of it.
	TaskEnvironment bool `yaml:"taskEnvironment,omitempty" json:"taskEnvironment,omitempty"`
	// 1 runs Python as `python -O`, 2 as `python -OO`.
	PythonOptimize int `yaml:"pythonOptimize,omitempty" json:"pythonOptimize,omitempty"`
	// Level of what the SDK itself says on the console (CLEARML_LOG_LEVEL). Left out: INFO.
	LogLevel string `yaml:"logLevel,omitempty" json:"logLevel,omitempty"`
	// Nothing is fetched and nothing installed: tasks run with the Python and the packages of the host or the image, and their code is there too.
	Standalone bool `yaml:"standalone,omitempty" json:"standalone,omitempty"`
}

// LogLevels are those of Python's logging.
var LogLevels = []string{"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"}

// Window is a time in which workers take tasks, by the clock on the wall.
type Window struct {
	// When it opens: minute, hour, day of the month, month and day of the week, as in a crontab.
	Cron string `yaml:"cron" json:"cron"`
	// How long it is open.
	For Duration `yaml:"for" json:"for"`
	// Name of the time zone, as Europe/Berlin; left out: that of the machine.
	TimeZone string `yaml:"timeZone,omitempty" json:"timeZone,omitempty"`
}

// Resources are the limits of one task; zero means none.
type Resources struct {
	// Cores, also a part of one, as 0.5.
	CPUs float64 `yaml:"cpus,omitempty" json:"cpus,omitempty"`
	// Memory.
	Memory Size `yaml:"memory,omitempty" json:"memory,omitempty"`
	// Processes and threads.
	PIDs int `yaml:"pids,omitempty" json:"pids,omitempty"`
	// Share of the disk beside other tasks; 500 is usual.
	IOWeight int `yaml:"ioWeight,omitempty" json:"ioWeight,omitempty"`
}
