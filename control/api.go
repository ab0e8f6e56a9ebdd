package control

import (
	"time"

	"agentctl/reconcile"
	"agentctl/spec"
)

// Paths of the API.
const (
	pathAgent        = "/v1/agent"
	pathStatus       = "/v1/status"
	pathWatch        = "/v1/watch"
	pathPlan         = "/v1/plan"
	pathApply        = "/v1/apply"
	pathOrder        = "/v1/order"
	pathStop         = "/v1/stop"
	pathExecute      = "/v1/execute"
	pathLogs         = "/v1/logs"
	pathEnvironments = "/v1/environments"
	pathGPUs         = "/v1/gpus"
	pathUsage        = "/v1/usage"
	pathAudit        = "/v1/audit"
	pathBuild        = "/v1/build"
	pathReload       = "/v1/reload"
	pathFetch        = "/v1/fetch"
	pathShutdown     = "/v1/shutdown"
	pathHistory      = "/v1/history"
	pathRevision     = "/v1/revision"
	pathBlame        = "/v1/blame"
	pathSuspend      = "/v1/suspend"
	pathResume       = "/v1/resume"
	pathConfirm      = "/v1/confirm"
	pathRollback     = "/v1/rollback"

	pathContributions = "/v1/contributions"
	pathContribute    = "/v1/contribute"
	pathWithdraw      = "/v1/withdraw"
)

// maxBody holds the largest spec, which JSON carries in base64, and some more.
const maxBody = spec.MaxSize*4/3 + 64<<10

// Agent is who answers on the socket.
type Agent struct {
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	// HostState is how the machine calls State, if the agent is in a pod that has it from there.
	HostState string `json:"hostState,omitempty"`
	// State is the folder of the agent's state, Server that of the embedded server.
	State  string `json:"state"`
	Server string `json:"server"`
	Source Source `json:"source,omitzero"`
}

// Source is where the spec comes from.
type Source struct {
	// Kind is "file", "folder", "git", "pinned", or "" when there is none yet.
	Kind string `json:"kind,omitempty"`
	// Path is the watched file or folder, within the repository if there is one, or
	// what a pinned text was called.
	Path string `json:"path,omitempty"`
	// URL of the repository, and Ref the branch or tag in it.
	URL string `json:"url,omitempty"`
	Ref string `json:"ref,omitempty"`
	// By says who named it: "apply" or "flags".
	By   string    `json:"by,omitempty"`
	Time time.Time `json:"time,omitzero"`
}

// PlanRequest asks what a spec would change.
type PlanRequest struct {
	// File is what the text is called in problems.
	File string `json:"file"`
	Text []byte `json:"text"`
	// Alone says that contributed workers would go, as a repository makes them.
	Alone bool `json:"alone,omitempty"`
}

// ApplyRequest hands a spec over.
type ApplyRequest struct {
	// File is the absolute path of the text, or what it is called when it is not
	// to be watched.
	File string `json:"file"`
	Text []byte `json:"text"`
	// Watch makes File the source of the spec: a later change of it is applied
	// without being told. Else Text is pinned.
	Watch bool `json:"watch,omitempty"`
	// Git makes a repository the source of the spec; File and Text are not read then.
	// Commit is what the caller found there, and the agent must find too.
	Git    *Git   `json:"git,omitempty"`
	Commit string `json:"commit,omitempty"`
	// TakeOver replaces a source that was given by the agent's flags, or a repository.
	TakeOver bool `json:"takeOver,omitempty"`
	// Resume replaces a source that is suspended, which is over then.
	Resume bool `json:"resume,omitempty"`
	// Base is the revision that must be in force: its number, or the beginning of its
	// digest; "" is any.
	Base string `json:"base,omitempty"`
	// Message says why, for the history.
	Message string `json:"message,omitempty"`
	// Try puts the spec in force for so long only, in nanoseconds, unless it is
	// confirmed.
	Try time.Duration `json:"try,omitempty"`
	// AllowEmpty and AllowServer say that a danger is meant: no worker is left, the new
	// server does not answer.
	AllowEmpty  bool `json:"allowEmpty,omitempty"`
	AllowServer bool `json:"allowServer,omitempty"`
}

// OrderRequest is an operator's order to workers: one (train/0), a group of them
// (train), or, when Worker is empty, the whole node.
type OrderRequest struct {
	Worker string `json:"worker,omitempty"`
	// Off takes an earlier order back: they take tasks again.
	Off bool `json:"off,omitempty"`
	// Policy is what becomes of running tasks: finish, requeue, stop,
	// reconcile.DrainOwn, or "" to leave them alone.
	Policy string `json:"policy,omitempty"`
	// Deadline is how long a task is waited for before it is put back into its queue, in
	// nanoseconds; 0 is without end.
	Deadline time.Duration `json:"deadline,omitempty"`
	// Force ends tasks without a checkpoint and without a grace.
	Force bool `json:"force,omitempty"`
	// UntilReboot lets the next start of the machine end an order to the whole node.
	UntilReboot bool   `json:"untilReboot,omitempty"`
	Reason      string `json:"reason,omitempty"`
}

// OrderReply names the workers that were meant.
type OrderReply struct {
	Workers []string `json:"workers"`
}

// StopRequest names a task, by its id or the beginning of one.
type StopRequest struct {
	Task string `json:"task"`
}

// StopReply names the task that was meant.
type StopReply struct {
	Task string `json:"task"`
}

// ExecuteRequest asks for a task to be run now, whatever queue it waits in.
type ExecuteRequest struct {
	Task string `json:"task"`
	// Worker says how; its name, queues and count do not matter.
	Worker spec.WorkerSpec `json:"worker,omitzero"`
	// RequireQueue refuses a task that waits in no queue, Force takes one that the server
	// holds to be in progress elsewhere.
	RequireQueue bool `json:"requireQueue,omitempty"`
	// Rank is that of the caller among several who run the task together: only the first,
	// 0, sets its status.
	Rank  int  `json:"rank,omitempty"`
	Force bool `json:"force,omitempty"`
}

// BuildRequest asks for what a task needs to be made, and left where it is.
type BuildRequest struct {
	Task   string          `json:"task"`
	Worker spec.WorkerSpec `json:"worker,omitzero"`
	// IgnoreContainer leaves what the task says of its container out of account.
	IgnoreContainer bool `json:"ignoreContainer,omitempty"`
}

// BuildReply is where it is, on this node.
type BuildReply struct {
	// EnvKey is that of the environment in the cache, EnvPath its folder; "" if it has none.
	// Reads are further folders that it needs, Variables those that tasks in it start with.
	EnvKey    string   `json:"envKey,omitempty"`
	EnvPath   string   `json:"envPath,omitempty"`
	Reads     []string `json:"reads,omitempty"`
	Variables []string `json:"variables,omitempty"`
	Hit       bool     `json:"hit,omitempty"`
	// Checkout is the folder of the code; without one Literal is the text of the script.
	Checkout string `json:"checkout,omitempty"`
	Commit   string `json:"commit,omitempty"`
	Literal  string `json:"literal,omitempty"`
	// Dir is the working folder and File the script, below the code; Args is the command.
	Dir  string   `json:"dir"`
	File string   `json:"file,omitempty"`
	Args []string `json:"args"`
	// Image is the digest of the image that it is for; "" for the host. Base and Size are
	// the ids of the host that its files belong to.
	Image string `json:"image,omitempty"`
	Base  int    `json:"base,omitempty"`
	Size  int    `json:"size,omitempty"`
	// Apt are the Debian packages that tasks find in the image here, and that are not its own.
	Apt []string `json:"apt,omitempty"`
}

// AuditRequest names workers, groups of them or running tasks; none are all workers.
type AuditRequest struct {
	Names []string `json:"names,omitempty"`
}

// Reach is one thing that tasks of a worker can reach, or can't.
type Reach struct {
	// Of is the group of workers, or the task.
	Of   string `json:"of"`
	What string `json:"what"`
	Text string `json:"text"`
	// Risk says that a task can do more by it than run in a box of its own, Key what
	// changes it in node.yaml.
	Risk bool   `json:"risk,omitempty"`
	Key  string `json:"key,omitempty"`
}

// Usage is what a running task uses.
type Usage struct {
	Task   string    `json:"task"`
	Name   string    `json:"name,omitempty"`
	Worker string    `json:"worker"`
	Since  time.Time `json:"since,omitzero"`
	// Time is when it was looked, CPU what processors had done for it by then, in
	// nanoseconds since its start.
	Time time.Time     `json:"time"`
	CPU  time.Duration `json:"cpu"`
	// Memory, its peak and its limit are in bytes; 0 where there is none, or where that
	// can't be told. Exact is false where only the living processes could be asked.
	Memory int64 `json:"memory"`
	Peak   int64 `json:"peak,omitempty"`
	Limit  int64 `json:"limit,omitempty"`
	PIDs   int   `json:"pids"`
	Exact  bool  `json:"exact"`
	// Read and Written are bytes of devices since its start; 0 where they are not counted.
	Read    int64 `json:"read,omitempty"`
	Written int64 `json:"written,omitempty"`
}

// Frame is one piece of a task's console.
type Frame struct {
	// Stream is "stdout", "stderr" or "agent".
	Stream string    `json:"stream,omitempty"`
	Time   time.Time `json:"time,omitzero"`
	Data   []byte    `json:"data,omitempty"`
	// End is where to go on reading after this frame.
	End int64 `json:"end,omitempty"`
	// EOF marks the last line of a stream, which tells its end from a connection
	// that broke.
	EOF bool `json:"eof,omitempty"`
}

// Environment is one entry of the environment cache.
type Environment struct {
	Key      string    `json:"key"`
	Path     string    `json:"path"`
	Manager  string    `json:"manager"`
	Python   string    `json:"python"`
	Bytes    int64     `json:"bytes"`
	Created  time.Time `json:"created"`
	Used     time.Time `json:"used"`
	InUse    bool      `json:"inUse"`
	Dirty    bool      `json:"dirty,omitempty"`
	Doubt    bool      `json:"doubt,omitempty"`
	Packages []string  `json:"packages"`
}

// Git is a repository to follow. There is no secret in it: files are named.
type Git struct {
	URL            string        `json:"url"`
	Ref            string        `json:"ref,omitempty"`
	Path           string        `json:"path,omitempty"`
	Interval       time.Duration `json:"interval,omitempty"`
	Credentials    string        `json:"credentials,omitempty"`
	SSHKey         string        `json:"sshKey,omitempty"`
	KnownHosts     string        `json:"knownHosts,omitempty"`
	Keyring        string        `json:"keyring,omitempty"`
	AllowedSigners string        `json:"allowedSigners,omitempty"`
}

// FetchRequest asks what a repository holds; without one, what the source holds.
type FetchRequest struct {
	Git *Git `json:"git,omitempty"`
}

// FetchReply is a text, what it is called in problems, and its commit.
type FetchReply struct {
	File   string            `json:"file"`
	Text   []byte            `json:"text"`
	Commit *reconcile.Commit `json:"commit,omitempty"`
}

// ReloadRequest has the source read now.
type ReloadRequest struct {
	// AcceptRewind takes a commit that does not come after the last one.
	AcceptRewind bool `json:"acceptRewind,omitempty"`
}
