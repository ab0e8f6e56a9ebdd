package server

import (
	"slices"

	"agentctl/clearml"
)

// allowed is the state table of the protocol: for each status, from which
// others a task may come to it. The same status is always allowed.
var allowed = map[string][]string{
	clearml.StatusInProgress: {clearml.StatusCreated, clearml.StatusQueued, clearml.StatusStopped, clearml.StatusCompleted},
	clearml.StatusStopped:    {clearml.StatusQueued, clearml.StatusInProgress, clearml.StatusFailed, clearml.StatusClosed},
	clearml.StatusFailed:     {clearml.StatusInProgress, clearml.StatusStopped, clearml.StatusClosed},
	clearml.StatusCompleted:  {clearml.StatusInProgress, clearml.StatusStopped},
	clearml.StatusClosed:     {clearml.StatusStopped},
	clearml.StatusPublished:  {clearml.StatusStopped, clearml.StatusFailed, clearml.StatusCompleted, clearml.StatusClosed, clearml.StatusPublishing},
	clearml.StatusQueued:     {clearml.StatusCreated, clearml.StatusStopped, clearml.StatusFailed},
	clearml.StatusCreated: {
		clearml.StatusQueued, clearml.StatusInProgress, clearml.StatusStopped, clearml.StatusFailed, clearml.StatusCompleted, clearml.StatusClosed,
	},
}

// change is one transition of a task.
type change struct {
	to              string
	reason, message string
	force           bool
	// set are further columns, with their values.
	set map[string]any
}

// apply makes a transition, or refuses it, and returns the reply's fields. The
// status was read in the same transaction, so nobody can have changed it since.
func (t *tx) apply(row *task, ch change) (map[string]any, error) {
	if !ch.force && ch.to != row.Status && !slices.Contains(allowed[ch.to], row.Status) {
		return nil, badStatus(row.Status, ch.to)
	}
	if ch.to == row.Status && ch.to == clearml.StatusPublished && !ch.force {
		return nil, badStatus(row.Status, ch.to)
	}
	set := map[string]any{
		"status": ch.to, "status_reason": ch.reason, "status_message": ch.message,
		"status_changed": t.now, "last_update": t.now, "last_change": t.now, "last_changed_by": userID,
	}
	for k, v := range ch.set {
		set[k] = v
	}
	if err := t.setTask(row.n, set); err != nil {
		return nil, err
	}
	t.touch(taskTopic(row.ID))
	t.touch(anyTask)
	row.Status, row.reason, row.message = ch.to, ch.reason, ch.message
	return shown(set), nil
}

// setTask writes columns of a task's row. The names are this package's own.
func (t *tx) setTask(n int64, set map[string]any) error {
	names := make([]string, 0, len(set))
	for name := range set {
		names = append(names, name)
	}
	slices.Sort(names) // one text for one set of columns, so that it is prepared once
	text, values := `UPDATE task SET `, make([]any, 0, len(set)+1)
	for i, name := range names {
		if i > 0 {
			text += ", "
		}
		text += name + " = ?"
		values = append(values, set[name])
	}
	_, err := t.exec(text+` WHERE n = ?`, append(values, n)...)
	return err
}

// timeColumns hold microseconds.
var timeColumns = []string{"status_changed", "created", "started", "completed", "published", "last_update", "last_change", "last_worker_report"}

// shown turns columns into the fields of a reply.
func shown(set map[string]any) map[string]any {
	out := make(map[string]any, len(set))
	for name, v := range set {
		us, isTime := v.(int64)
		switch {
		case isTime && slices.Contains(timeColumns, name):
			out[name] = stamp(us)
		case name == "tags" || name == "system_tags":
			out[name] = rawList([]byte(v.(string))) //nolint:forcetypeassert // written as text by this package alone
		case name == "queue":
			out["execution.queue"] = v
		case name == "enqueue_status" || name == "stream" || name == "log_events":
		default:
			out[name] = v
		}
	}
	return out
}
