package clearml

// Statuses of a task.
const (
	StatusCreated    = "created"
	StatusQueued     = "queued"
	StatusInProgress = "in_progress"
	StatusStopped    = "stopped"
	StatusFailed     = "failed"
	StatusCompleted  = "completed"
	StatusClosed     = "closed"
	StatusPublishing = "publishing"
	StatusPublished  = "published"
	StatusUnknown    = "unknown"
)

// MessageStopping is the status_message by which tasks.stop asks the agent of a
// running task to end it.
const MessageStopping = "stopping"

// Task is what agentctl reads of a task. Every text in it is hostile.
type Task struct {
	ID            string                      `json:"id,omitempty"`
	Name          string                      `json:"name,omitempty"`
	Type          string                      `json:"type,omitempty"`
	Status        string                      `json:"status,omitempty"`
	StatusReason  string                      `json:"status_reason,omitempty"`
	StatusMessage string                      `json:"status_message,omitempty"`
	Project       string                      `json:"project,omitempty"`
	Parent        string                      `json:"parent,omitempty"`
	Comment       string                      `json:"comment,omitempty"`
	User          string                      `json:"user,omitempty"`
	LastWorker    string                      `json:"last_worker,omitempty"`
	LastIteration int64                       `json:"last_iteration,omitempty"`
	Created       Time                        `json:"created,omitzero"`
	Started       Time                        `json:"started,omitzero"`
	Completed     Time                        `json:"completed,omitzero"`
	LastUpdate    Time                        `json:"last_update,omitzero"`
	Script        Script                      `json:"script,omitzero"`
	Execution     Execution                   `json:"execution,omitzero"`
	Hyperparams   map[string]map[string]Param `json:"hyperparams,omitempty"`
	Configuration map[string]Configuration    `json:"configuration,omitempty"`
	Container     Container                   `json:"container,omitzero"`
	Runtime       map[string]any              `json:"runtime,omitempty"`
	Tags          []string                    `json:"tags,omitempty"`
	SystemTags    []string                    `json:"system_tags,omitempty"`
}

// Script is the code of a task and how to run it.
type Script struct {
	Repository string `json:"repository,omitempty"`
	Branch     string `json:"branch,omitempty"`
	Tag        string `json:"tag,omitempty"`
	// VersionNum is the commit.
	VersionNum string `json:"version_num,omitempty"`
	EntryPoint string `json:"entry_point,omitempty"`
	WorkingDir string `json:"working_dir,omitempty"`
	// Diff is the uncommitted change, or the text of a script without a repository.
	Diff string `json:"diff,omitempty"`
	// Binary is the interpreter that the task was made with, as "python3.12".
	Binary       string       `json:"binary,omitempty"`
	Requirements Requirements `json:"requirements,omitzero"`
}

// Execution is what the server notes of how a task runs.
type Execution struct {
	Queue     string `json:"queue,omitempty"` // id
	DockerCmd string `json:"docker_cmd,omitempty"`
}

// Param is one hyperparameter.
type Param struct {
	Section     string `json:"section,omitempty"`
	Name        string `json:"name,omitempty"`
	Value       Text   `json:"value"`
	Type        string `json:"type,omitempty"`
	Description string `json:"description,omitempty"`
}

// Configuration is one configuration object of a task.
type Configuration struct {
	Name        string `json:"name,omitempty"`
	Value       Text   `json:"value"`
	Type        string `json:"type,omitempty"`
	Description string `json:"description,omitempty"`
}

// Container is the image and the arguments that a task asks for. Servers before
// 2.13 have Execution.DockerCmd in its place.
type Container struct {
	Image            Text  `json:"image,omitempty"`
	Arguments        Text  `json:"arguments,omitempty"`
	SetupShellScript Lines `json:"setup_shell_script,omitempty"`
}
