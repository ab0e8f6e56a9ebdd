package server

import (
	"encoding/json"
	"slices"
)

// logEvent is a piece of a console as the protocol shows it.
type logEvent struct {
	Type      string `json:"type"`
	Task      string `json:"task"`
	Worker    string `json:"worker"`
	Level     string `json:"level"`
	Msg       string `json:"msg"`
	Timestamp int64  `json:"timestamp"`
	At        string `json:"@timestamp"`

	n int64
}

// maxLogBytes bounds the text in one answer; what is left comes with the next
// page.
const maxLogBytes = 16 << 20

// readLog reads n events of a task before or behind a place (time, number), the
// nearest first. A place of 0 is the beginning, or the end when going backward.
func readLog(v *view, t *task, back bool, from scroll, n int) ([]*logEvent, error) {
	const cols = `SELECT n, ts, worker, level, msg FROM log WHERE stream = ?`
	text, a := cols+` AND (ts, n) > (?, ?) ORDER BY ts, n LIMIT ?`, args(t.stream, from.A, from.B, n)
	if back {
		text = cols + ` AND (ts, n) < (?, ?) ORDER BY ts DESC, n DESC LIMIT ?`
	}
	if from == (scroll{}) {
		edge := int64(-1 << 62)
		if back {
			edge = 1 << 62
		}
		a[1], a[2] = edge, edge
	}
	var events []*logEvent
	size := 0
	err := v.each(text, a, func(scan func(...any) error) error {
		e := &logEvent{Type: typeLog, Task: t.ID}
		if err := scan(&e.n, &e.Timestamp, &e.Worker, &e.Level, &e.Msg); err != nil {
			return err
		}
		e.At = stampMS(e.Timestamp)
		if size += len(e.Msg); size <= maxLogBytes || len(events) == 0 {
			events = append(events, e)
		}
		return nil
	})
	return events, err
}

func stampMS(ms int64) string {
	text, _ := stamp(ms * 1000).(string)
	return text
}

// sameTime completes a page with the events that share the time of its last one:
// a client goes on from that time and would never see them.
func sameTime(v *view, t *task, back bool, events []*logEvent) ([]*logEvent, error) {
	if len(events) == 0 {
		return events, nil
	}
	last := events[len(events)-1]
	rest, err := readLog(v, t, back, scroll{last.Timestamp, last.n}, 10_000)
	for _, e := range rest {
		if e.Timestamp == last.Timestamp {
			events = append(events, e)
		}
	}
	return events, err
}

type logRequest struct {
	Task     string      `json:"task" need:"1"`
	Batch    int         `json:"batch_size"`
	Earlier  *bool       `json:"navigate_earlier"`
	From     json.Number `json:"from_timestamp"`
	Order    string      `json:"order"`
	FromEnd  string      `json:"from"` // 1.7: head or tail
	ScrollID string      `json:"scroll_id"`
}

func (r *logRequest) check() error {
	if !oneOf(r.Order, "", "asc", "desc") {
		return invalid("order", "value is not asc or desc")
	}
	return nil
}

// taskLog is events.get_task_log since 2.9: a page from a time in a direction.
// Without an order the events nearest to that time come first.
func taskLog(c *call, req *logRequest) (any, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	t, err := needTask(c.read(), req.Task)
	if err != nil {
		return nil, err
	}
	back := req.Earlier == nil || *req.Earlier
	from, ok := integer(req.From, 0)
	if !ok {
		return nil, invalid("from_timestamp", "no number")
	}
	place := scroll{}
	if from != 0 && back {
		place = scroll{from, -1 << 62} // strictly earlier
	} else if from != 0 {
		place = scroll{from, 1 << 62} // strictly later
	}
	events, err := readLog(c.read(), t, back, place, pageSize(req.Batch, 500))
	if err != nil {
		return nil, err
	}
	if events, err = sameTime(c.read(), t, back, events); err != nil {
		return nil, err
	}
	if req.Order == "asc" && back || req.Order == "desc" && !back {
		slices.Reverse(events)
	}
	return map[string]any{"events": nonNil(events), "returned": len(events), "total": t.logEvents}, nil
}

// taskLogFrom is events.get_task_log of 1.7: the first or the last events.
func taskLogFrom(c *call, req *logRequest) (any, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	if !oneOf(req.FromEnd, "", "head", "tail") {
		return nil, invalid("from", "value is not head or tail")
	}
	t, err := needTask(c.read(), req.Task)
	if err != nil {
		return nil, err
	}
	back := req.FromEnd == "tail"
	events, err := readLog(c.read(), t, back, scroll{}, pageSize(req.Batch, 500))
	if err != nil {
		return nil, err
	}
	if descending := req.Order != "asc"; descending != back {
		slices.Reverse(events)
	}
	return map[string]any{"events": nonNil(events), "returned": len(events), "total": t.logEvents}, nil
}

// taskLogScroll is events.get_task_log of 1.5: pages by a scroll id.
func taskLogScroll(c *call, req *logRequest) (any, error) {
	if err := req.check(); err != nil {
		return nil, err
	}
	t, err := needTask(c.read(), req.Task)
	if err != nil {
		return nil, err
	}
	place, err := readScroll(req.ScrollID)
	if err != nil {
		return nil, err
	}
	events, err := readLog(c.read(), t, req.Order != "asc", place, pageSize(req.Batch, 500))
	if err != nil {
		return nil, err
	}
	if len(events) > 0 {
		last := events[len(events)-1]
		place = scroll{last.Timestamp, last.n}
	}
	return map[string]any{"events": nonNil(events), "returned": len(events), "total": t.logEvents, "scroll_id": place.String()}, nil
}

// clearTaskLog deletes a console, a bit at a time: others write in between.
func clearTaskLog(c *call, req *byTask) (any, error) {
	deleted, more := int64(0), true
	for more {
		err := c.update(func(t *tx) error {
			row, err := c.ownTask(t, req.Task)
			if err != nil {
				return err
			}
			n, err := t.exec(`DELETE FROM log WHERE n IN (SELECT n FROM log WHERE stream = ? LIMIT ?)`, row.stream, purgeRows)
			if err != nil {
				return err
			}
			deleted, more = deleted+n, n == purgeRows
			return t.setTask(row.n, map[string]any{"log_events": max(row.logEvents-n, 0)})
		})
		if err != nil {
			return nil, err
		}
	}
	return map[string]any{"deleted": deleted}, nil
}
