package server

import (
	"encoding/json"
	"time"
)

// task is the part of a task that changes often. Zero times and empty texts are
// what is not there.
type task struct {
	n                             int64
	ID, Name, Type, Status        string
	reason, message               string
	statusChanged, created        int64
	started, completed, published int64
	lastUpdate, lastChange        int64
	changedBy, user               string
	project, parent, comment      string
	tags, systemTags              list
	lastWorker                    string
	lastWorkerReport              int64
	lastIteration                 int64
	queue, enqueueStatus, creator string
	stream, logEvents             int64
}

const taskColumns = `t.n, t.id, t.name, t.type, t.status, t.status_reason, t.status_message, t.status_changed, t.created,
	t.started, t.completed, t.published, t.last_update, t.last_change, t.last_changed_by, t.user, t.project, t.parent,
	t.comment, t.tags, t.system_tags, t.last_worker, t.last_worker_report, t.last_iteration, t.queue, t.enqueue_status,
	t.creator, t.stream, t.log_events`

func (t *task) dest() []any {
	return []any{
		&t.n, &t.ID, &t.Name, &t.Type, &t.Status, &t.reason, &t.message, &t.statusChanged, &t.created,
		&t.started, &t.completed, &t.published, &t.lastUpdate, &t.lastChange, &t.changedBy, &t.user, &t.project, &t.parent,
		&t.comment, &t.tags, &t.systemTags, &t.lastWorker, &t.lastWorkerReport, &t.lastIteration, &t.queue, &t.enqueueStatus,
		&t.creator, &t.stream, &t.logEvents,
	}
}

// getTask reads a task; nil when there is none.
func getTask(v *view, id string) (*task, error) {
	var t task
	ok, err := v.one(`SELECT `+taskColumns+` FROM task t WHERE t.id = ?`, args(id), t.dest()...)
	if err != nil || !ok {
		return nil, err
	}
	return &t, nil
}

// needTask is getTask for a call that can't go on without it.
func needTask(v *view, id string) (*task, error) {
	t, err := getTask(v, id)
	if err == nil && t == nil {
		err = noTask(id)
	}
	return t, err
}

// ownTask is needTask for a change that the caller must be allowed.
func (c *call) ownTask(t *tx, id string) (*task, error) {
	row, err := needTask(t.view, id)
	if err != nil {
		return nil, err
	}
	return row, c.mayChange(row)
}

// list is a list of strings, stored as JSON.
type list []string

// Scan reads a column.
func (l *list) Scan(v any) error {
	text, _ := v.(string)
	if text == "[]" || text == "" { // most are, and this runs for every row
		*l = list{}
		return nil
	}
	return json.Unmarshal([]byte(text), l)
}

func (l list) json() string {
	if l == nil {
		l = list{}
	}
	data, _ := json.Marshal(l) // strings always encode
	return string(data)
}

func (l list) has(s string) bool {
	for _, e := range l {
		if e == s {
			return true
		}
	}
	return false
}

func (l list) with(s string) list {
	if l.has(s) {
		return l
	}
	return append(append(list{}, l...), s)
}

func (l list) without(s string) list {
	out := list{}
	for _, e := range l {
		if e != s {
			out = append(out, e)
		}
	}
	return out
}

// jsonList is strings as one argument of a statement: `IN (SELECT value FROM
// json_each(?))` keeps the statement's text the same for any number.
func jsonList(s []string) string { return list(s).json() }

// stamp writes a time of the store as ClearML does.
func stamp(us int64) any {
	if us == 0 {
		return nil
	}
	return time.UnixMicro(us).UTC().Format("2006-01-02T15:04:05.000000-07:00")
}
