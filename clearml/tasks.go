package clearml

import (
	"context"
	"time"
)

// Task reads one task. errors.Is(err, ErrTaskGone) tells that there is none.
func (c *Client) Task(ctx context.Context, id string) (*Task, error) {
	var resp struct {
		Task *Task `json:"task"`
	}
	if err := c.Read(ctx, "tasks.get_by_id", byTask(id), &resp); err != nil {
		return nil, err
	}
	if resp.Task == nil {
		return nil, ErrTaskGone
	}
	return resp.Task, nil
}

// TaskState is what tells an agent whether its task shall go on.
type TaskState struct {
	ID            string `json:"id"`
	Status        string `json:"status"`
	StatusMessage string `json:"status_message"`
	StatusReason  string `json:"status_reason"`
	LastWorker    string `json:"last_worker"`
	// Started tells the runs of a task apart: the server sets it anew when a task that
	// was not in progress is started, and keeps it over further calls.
	Started Time `json:"started"`
}

// StopRequested tells that somebody asked for the task's end by tasks.stop.
func (s TaskState) StopRequested() bool {
	return s.Status == StatusInProgress && s.StatusMessage == MessageStopping
}

// poll is the embedded server's extension of a read: it is held until something
// that was asked for has changed since a revision, or the time is over. A
// ClearML Server ignores the two fields and answers without a revision.
type poll struct {
	Since  int64 `json:"agentctl_since"`
	WaitMS int64 `json:"agentctl_wait_ms,omitempty"`
}

// TaskStates reads the states of the tasks; one that is missing in the answer
// does not exist. The call is held by the embedded server for at most wait,
// until a state has changed after revision since; a since of 0 is answered at
// once. A revision of 0 in the answer says that the server does not hold calls.
func (c *Client) TaskStates(ctx context.Context, ids []string, since int64, wait time.Duration) (states []TaskState, revision int64, err error) {
	req := struct {
		ID           []string `json:"id"`
		OnlyFields   []string `json:"only_fields"`
		SearchHidden bool     `json:"search_hidden"`
		poll
	}{ids, []string{"id", "status", "status_message", "status_reason", "last_worker", "started"}, true, poll{since, wait.Milliseconds()}}
	var resp struct {
		Tasks    []TaskState `json:"tasks"`
		Revision int64       `json:"agentctl_revision"`
	}
	err = c.call(ctx, call{action: "tasks.get_all", body: req, resp: &resp, repeatable: true, wait: wait})
	return resp.Tasks, resp.Revision, err
}

// TaskFilter selects tasks of ListTasks; zero fields select all.
type TaskFilter struct {
	ID      []string `json:"id,omitempty"`
	Status  []string `json:"status,omitempty"`
	Project []string `json:"project,omitempty"`
	// Name is a regular expression.
	Name string `json:"name,omitempty"`
	// OrderBy names fields; a leading "-" turns the order round.
	OrderBy  []string `json:"order_by,omitempty"`
	Page     int      `json:"page"`
	PageSize int      `json:"page_size,omitempty"`
}

// ListTasks reads tasks, with the fields that a table shows.
func (c *Client) ListTasks(ctx context.Context, f TaskFilter) ([]Task, error) {
	req := struct {
		TaskFilter
		OnlyFields   []string `json:"only_fields"`
		SearchHidden bool     `json:"search_hidden"`
	}{f, []string{
		"id", "name", "type", "status", "status_reason", "status_message", "project", "user", "last_worker",
		"last_iteration", "created", "started", "completed", "last_update", "execution.queue", "tags",
	}, true}
	var resp struct {
		Tasks []Task `json:"tasks"`
	}
	err := c.Read(ctx, "tasks.get_all", req, &resp)
	return resp.Tasks, err
}

// transition is the request of every change of a task's status.
type transition struct {
	Task    string `json:"task"`
	Reason  string `json:"status_reason"`
	Message string `json:"status_message"`
	Force   bool   `json:"force,omitempty"`
}

// Started sets a task in progress; force skips the table of allowed changes.
// The server lets several callers do this: only the pop of a queue is exclusive.
func (c *Client) Started(ctx context.Context, task, reason, message string, force bool) error {
	return c.Call(ctx, "tasks.started", transition{task, reason, message, force}, nil)
}

// Completed reports that a task ended well.
func (c *Client) Completed(ctx context.Context, task, reason, message string) error {
	return c.Call(ctx, "tasks.completed", transition{task, reason, message, false}, nil)
}

// Failed reports that a task failed.
func (c *Client) Failed(ctx context.Context, task, reason, message string) error {
	return c.Call(ctx, "tasks.failed", transition{task, reason, message, false}, nil)
}

// Stopped reports that a task was stopped before its end.
func (c *Client) Stopped(ctx context.Context, task, reason, message string) error {
	return c.Call(ctx, "tasks.stopped", transition{task, reason, message, false}, nil)
}

// StopTask asks for the end of a task, as a user does: one that waits is stopped
// at once, a running one gets MessageStopping and its agent ends it.
func (c *Client) StopTask(ctx context.Context, task, reason, message string) error {
	return c.Call(ctx, "tasks.stop", transition{task, reason, message, false}, nil)
}

// Ping tells the server that a task is alive: its watchdog stops one that is not.
func (c *Client) Ping(ctx context.Context, task string) error {
	return c.Read(ctx, "tasks.ping", byTask(task), nil)
}

// EditTask sets fields of a task by tasks.edit, in any status. A field that is
// an object replaces the whole object.
func (c *Client) EditTask(ctx context.Context, task string, fields map[string]any) error {
	req := make(map[string]any, len(fields)+2)
	for k, v := range fields {
		req[k] = v
	}
	req["task"], req["force"] = task, true
	return c.Call(ctx, "tasks.edit", req, nil)
}

// SetRequirements stores the packages of a task, in place of those it has.
func (c *Client) SetRequirements(ctx context.Context, task string, r Requirements) error {
	return c.Call(ctx, "tasks.set_requirements", map[string]any{"task": task, "requirements": r}, nil)
}

// Enqueue puts a task at the end of a queue (id), moving it there from any
// other; force also takes a running or ended one.
func (c *Client) Enqueue(ctx context.Context, task, queue, reason string, force bool) error {
	return c.enqueue(ctx, transition{task, reason, "", force}, queue)
}

func (c *Client) enqueue(ctx context.Context, t transition, queue string) error {
	return c.Call(ctx, "tasks.enqueue", struct {
		transition
		Queue string `json:"queue"`
	}{t, queue}, nil)
}

// Requeue puts a task that ran at the end of a queue (id), straight from whatever status
// it has. A wish to stop it is lost by that.
func (c *Client) Requeue(ctx context.Context, task, queue, reason, message string) error {
	return c.enqueue(ctx, transition{task, reason, message, true}, queue)
}

// Dequeue takes a task off its queue and gives it back the status it had before.
func (c *Client) Dequeue(ctx context.Context, task, reason, message string) error {
	return c.Call(ctx, "tasks.dequeue", transition{task, reason, message, false}, nil)
}

// DeleteTask removes a task, whatever its status, with its events.
func (c *Client) DeleteTask(ctx context.Context, task string) error {
	return c.Call(ctx, "tasks.delete", transition{Task: task, Force: true}, nil)
}

// NewTask is a task to be created. Name needs three characters or more.
type NewTask struct {
	Name          string                      `json:"name"`
	Type          string                      `json:"type"` // "training" is usual
	Project       string                      `json:"project,omitempty"`
	Comment       string                      `json:"comment,omitempty"`
	Parent        string                      `json:"parent,omitempty"`
	Script        Script                      `json:"script,omitzero"`
	Hyperparams   map[string]map[string]Param `json:"hyperparams,omitempty"`
	Configuration map[string]Configuration    `json:"configuration,omitempty"`
	Container     map[string]string           `json:"container,omitempty"`
	Tags          []string                    `json:"tags,omitempty"`
	SystemTags    []string                    `json:"system_tags,omitempty"`
}

// CreateTask stores a task in status created and returns its id.
func (c *Client) CreateTask(ctx context.Context, t NewTask) (id string, err error) {
	var resp struct {
		ID string `json:"id"`
	}
	err = c.Call(ctx, "tasks.create", t, &resp)
	return resp.ID, err
}

// CloneTask copies what a task was made from into a new one, which has the old one
// as its parent, and returns its id.
func (c *Client) CloneTask(ctx context.Context, task, name string) (id string, err error) {
	var resp struct {
		ID string `json:"id"`
	}
	err = c.Call(ctx, "tasks.clone", map[string]string{"task": task, "new_task_name": name}, &resp)
	return resp.ID, err
}

func byTask(id string) map[string]string { return map[string]string{"task": id} }
