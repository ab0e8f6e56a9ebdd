package clearml

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Queue is a queue and what waits in it, the next one first.
type Queue struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Entries []Entry  `json:"entries"`
	Tags    []string `json:"tags"`
}

// Entry is one task in a queue.
type Entry struct {
	Task  string `json:"task"`
	Added Time   `json:"added,omitzero"`
}

// Tasks are the ids of what waits, the next one first.
func (q Queue) Tasks() []string {
	ids := make([]string, 0, len(q.Entries))
	for _, e := range q.Entries {
		ids = append(ids, e.Task)
	}
	return ids
}

// headEntries is how much of each queue a waiting read shows.
const headEntries = 256

// Queues reads what waits in the queues: with a wait the first 256 of each, else
// all. The embedded server holds the call for
// at most wait, until one of them has changed after revision since; a since of 0
// is answered at once. A revision of 0 in the answer says that the server does
// not hold calls. A queue that is missing in the answer does not exist.
func (c *Client) Queues(ctx context.Context, ids []string, since int64, wait time.Duration) (qs []Queue, revision int64, err error) {
	req := struct {
		ID           []string `json:"id"`
		OnlyFields   []string `json:"only_fields"`
		SearchHidden bool     `json:"search_hidden"`
		MaxEntries   int      `json:"max_task_entries,omitempty"`
		poll
	}{ids, []string{"id", "name", "entries", "tags"}, true, 0, poll{since, wait.Milliseconds()}}
	if wait > 0 { // who waits wants the next tasks, not all of a long queue
		req.MaxEntries = headEntries
	}
	var resp struct {
		Queues   []Queue `json:"queues"`
		Revision int64   `json:"agentctl_revision"`
	}
	err = c.call(ctx, call{action: "queues.get_all", body: req, resp: &resp, repeatable: true, wait: wait})
	return resp.Queues, resp.Revision, err
}

// ListQueues reads all queues with what waits in them.
func (c *Client) ListQueues(ctx context.Context) ([]Queue, error) {
	var resp struct {
		Queues []Queue `json:"queues"`
	}
	err := c.Read(ctx, "queues.get_all", map[string]any{
		"only_fields": []string{"id", "name", "entries", "tags"}, "search_hidden": true,
	}, &resp)
	return resp.Queues, err
}

// queueID is what clearml-agent takes for an id rather than a name.
var queueID = regexp.MustCompile(`^[-a-f0-9]{30,}$`)

// ResolveQueue gives the id of the queue of that name, whatever its letters'
// case; an id is given back as it is. A missing queue is created if create is
// set, else the error is IsNotFound.
func (c *Client) ResolveQueue(ctx context.Context, nameOrID string, create bool) (id string, err error) {
	if queueID.MatchString(nameOrID) {
		return nameOrID, nil
	}
	id, err = c.findQueue(ctx, nameOrID)
	if err != nil || id != "" {
		return id, err
	}
	if !create {
		return "", fmt.Errorf("cannot find the queue %q: %w", nameOrID, ErrNotFound)
	}
	var made struct {
		ID string `json:"id"`
	}
	err = c.Call(ctx, "queues.create", map[string]any{"name": nameOrID}, &made)
	if err == nil {
		return made.ID, nil
	}
	// Somebody else may have created it meanwhile, or the answer was lost.
	if again, ferr := c.findQueue(ctx, nameOrID); ferr == nil && again != "" {
		return again, nil
	}
	return "", err
}

// findQueue looks for exactly one queue of that name; names in the protocol are
// regular expressions.
func (c *Client) findQueue(ctx context.Context, name string) (id string, err error) {
	var resp struct {
		Queues []Queue `json:"queues"`
	}
	err = c.Read(ctx, "queues.get_all", map[string]any{
		"name": "^" + regexp.QuoteMeta(name) + "$", "only_fields": []string{"id", "name"}, "search_hidden": true,
	}, &resp)
	if err != nil {
		return "", err
	}
	for _, q := range resp.Queues {
		if q.Name == name {
			return q.ID, nil
		}
	}
	for _, q := range resp.Queues {
		if strings.EqualFold(q.Name, name) {
			return q.ID, nil
		}
	}
	return "", nil
}

// NextTask pops task off queue (both ids) if it is the queue's head, and returns what
// it popped, "" for nothing. An old server does not know the pop by task and pops its
// head whatever it is: what it gives in place of task is off the queue as well, and has
// to be put back.
func (c *Client) NextTask(ctx context.Context, queue, task string) (popped string, err error) {
	return c.pop(ctx, queue, task)
}

// PopTask pops the head of queue (id) and returns its task, or "" from an empty
// queue.
func (c *Client) PopTask(ctx context.Context, queue string) (task string, err error) {
	return c.pop(ctx, queue, "")
}

func (c *Client) pop(ctx context.Context, queue, task string) (string, error) {
	req := struct {
		Queue string `json:"queue"`
		Task  string `json:"task,omitempty"`
	}{queue, task}
	var resp struct {
		Entry Entry `json:"entry"`
	}
	err := c.Call(ctx, "queues.get_next_task", req, &resp)
	return resp.Entry.Task, err
}

// MoveToFront makes a task that is in queue (id) its head.
func (c *Client) MoveToFront(ctx context.Context, queue, task string) error {
	return c.Call(ctx, "queues.move_task_to_front", map[string]string{"queue": queue, "task": task}, nil)
}
