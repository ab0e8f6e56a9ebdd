package server

import (
	"encoding/json"
	"errors"
	"slices"

	"github.com/samber/lo"
)

func queueEndpoints() []*endpoint {
	return []*endpoint{
		on("queues.get_all", getQueues),
		on("queues.get_all_ex", getQueues),
		on("queues.get_by_id", getQueueByID),
		on("queues.get_default", defaultQueue),
		on("queues.get_num_entries", numEntries),
		operator(on("queues.create", createQueue)),
		operator(on("queues.get_or_create", getOrCreateQueue)),
		operator(on("queues.update", updateQueue)),
		operator(on("queues.delete", deleteQueue)),
		operator(on("queues.get_next_task", nextTask)),
		on("queues.peek_task", peekTask),
		operator(on("queues.add_task", addTask)),
		operator(on("queues.remove_task", removeTask)),
		operator(on("queues.move_task_to_front", moveTask(toFront))),
		operator(on("queues.move_task_to_back", moveTask(toBack))),
		operator(on("queues.move_task_forward", moveTask(forward))),
		operator(on("queues.move_task_backward", moveTask(backward))),
		operator(on("queues.add_or_update_metadata", setQueueMetadata)),
		operator(on("queues.delete_metadata", deleteQueueMetadata)),
		operator(on("queues.clear_queue", clearQueue)),
		on("queues.get_queue_metrics", queueMetrics),
	}
}

// queue is a row of queues.
type queue struct {
	ID, Name, user      string
	created, lastUpdate int64
	tags, systemTags    list
	metadata            string
}

const queueColumns = `q.id, q.name, q.user, q.created, q.last_update, q.tags, q.system_tags, q.metadata`

func (q *queue) dest() []any {
	return []any{&q.ID, &q.Name, &q.user, &q.created, &q.lastUpdate, &q.tags, &q.systemTags, &q.metadata}
}

var queueNames = []string{"id", "name", "user", "company", "created", "last_update", "tags", "system_tags", "metadata", "entries", "display_name"}

func (q *queue) doc(f fields, entries []entry) map[string]any {
	all := map[string]any{
		"id": q.ID, "name": q.Name, "user": q.user, "company": companyID, "created": stamp(q.created), "last_update": stamp(q.lastUpdate),
		"tags": q.tags, "system_tags": q.systemTags, "metadata": json.RawMessage(q.metadata), "entries": nonNil(entries),
	}
	return f.of(all)
}

// entry is a place in a queue.
type entry struct {
	Task  string `json:"task"`
	Added any    `json:"added"`

	added int64 // µs
}

// queueQuery is the request of queues.get_all.
type queueQuery struct {
	ID           texts   `json:"id"`
	Name         string  `json:"name"`
	Tags         texts   `json:"tags"`
	SystemTags   texts   `json:"system_tags"`
	SearchText   string  `json:"search_text"`
	SearchHidden bool    `json:"search_hidden"`
	Any          *anyAll `json:"_any_"`
	All          *anyAll `json:"_all_"`
	OnlyFields   texts   `json:"only_fields"`
	OrderBy      texts   `json:"order_by"`
	MaxEntries   int     `json:"max_task_entries"`
	paging
	poll
}

func getQueues(c *call, req *queueQuery) (any, error) {
	l, err := newListing(req.OnlyFields, req.OrderBy, req.paging, func(n string) bool { return slices.Contains(queueNames, n) }, plain(queueColumn), "q.n", req.filter)
	if err != nil {
		return nil, err
	}
	revision := c.srv.hold(c.ctx, req.poll, req.topics())
	var rows []*queue
	text := `SELECT ` + queueColumns + ` FROM queue q` + l.tail
	err = c.read().each(text, l.args, func(scan func(...any) error) error {
		var q queue
		rows = append(rows, &q)
		return scan(q.dest()...)
	})
	if err != nil {
		return nil, err
	}
	docs := make([]any, 0, len(rows))
	for _, q := range rows {
		var entries []entry
		if l.fields.want("entries") {
			if entries, err = entriesOf(c.read(), q.ID, req.MaxEntries); err != nil {
				return nil, err
			}
		}
		docs = append(docs, q.doc(l.fields, entries))
	}
	return map[string]any{"queues": docs, "agentctl_revision": revision}, nil
}

// anyQueue is the topic of changes of the list of queues itself.
const anyQueue = "q:"

func (q *queueQuery) topics() []string {
	topics := lo.Map(q.ID, func(id string, _ int) string { return queueTopic(id) })
	return append(topics, anyQueue)
}

func (q *queueQuery) filter(f *filter) error {
	if q.ID != nil {
		f.exact("q.id", q.ID)
	}
	if err := errors.Join(f.tags("q.tags", q.Tags), f.tags("q.system_tags", q.SystemTags)); err != nil {
		return err
	}
	f.visible("q.system_tags", q.SearchHidden, q.ID, q.SystemTags)
	if q.SearchText != "" {
		f.add(`(instr(lower(q.name), lower(?)) OR q.id = ?)`, q.SearchText, q.SearchText)
	}
	if err := f.regex("q.name", q.Name); err != nil {
		return err
	}
	if err := f.match(q.Any, false, plain(queueColumn)); err != nil {
		return err
	}
	return f.match(q.All, true, plain(queueColumn))
}

func queueColumn(name string) string {
	switch {
	case name == "display_name":
		return "q.name"
	case name == "entries" || name == "company":
		return "q.n"
	case slices.Contains(queueNames, name):
		return "q." + name
	}
	return ""
}

// entriesOf reads what waits in a queue, the next one first; at most n of it, or
// all when n is 0.
func entriesOf(v *view, queue string, n int) ([]entry, error) {
	if n <= 0 {
		n = -1 // no limit
	}
	var entries []entry
	err := v.each(`SELECT task, added FROM entry WHERE queue = ? ORDER BY pos LIMIT ?`, args(queue, n), func(scan func(...any) error) error {
		var e entry
		var added int64
		if err := scan(&e.Task, &added); err != nil {
			return err
		}
		e.Added = stamp(added)
		entries = append(entries, e)
		return nil
	})
	return entries, err
}

func findQueue(v *view, id string) (*queue, error) {
	var q queue
	found, err := v.one(`SELECT `+queueColumns+` FROM queue q WHERE q.id = ?`, args(id), q.dest()...)
	if err == nil && !found {
		err = noQueue(id)
	}
	return &q, err
}

type byQueue struct {
	Queue      string `json:"queue" need:"1"`
	MaxEntries int    `json:"max_task_entries"`
}

func getQueueByID(c *call, req *byQueue) (any, error) {
	q, err := findQueue(c.read(), req.Queue)
	if err != nil {
		return nil, err
	}
	entries, err := entriesOf(c.read(), q.ID, req.MaxEntries)
	if err != nil {
		return nil, err
	}
	return map[string]any{"queue": q.doc(nil, entries)}, nil
}

// defaultTag marks the queue that an enqueue without one goes to.
const defaultTag = "default"

func defaultQueue(c *call, _ *none) (any, error) {
	id, name, err := getDefaultQueue(c.read())
	return map[string]any{"id": id, "name": name}, err
}

func getDefaultQueue(v *view) (id, name string, err error) {
	found, err := v.one(`SELECT q.id, q.name FROM queue q WHERE EXISTS
		(SELECT 1 FROM json_each(q.system_tags) WHERE value = ?) ORDER BY q.n`, args(defaultTag), &id, &name)
	if err == nil && !found {
		err = refuse(400, 707, "No queue is tagged as the default queue for this company: company=%s", companyID)
	}
	return id, name, err
}

func numEntries(c *call, req *byQueue) (any, error) {
	if _, err := findQueue(c.read(), req.Queue); err != nil {
		return nil, err
	}
	var n int64
	_, err := c.read().one(`SELECT count(*) FROM entry WHERE queue = ?`, args(req.Queue), &n)
	return map[string]any{"num": n}, err
}

func peekTask(c *call, req *byQueue) (any, error) {
	if _, err := findQueue(c.read(), req.Queue); err != nil {
		return nil, err
	}
	var id string
	found, err := c.read().one(`SELECT task FROM entry WHERE queue = ? ORDER BY pos`, args(req.Queue), &id)
	if !found {
		return none{}, err
	}
	return map[string]any{"task": id}, err
}
