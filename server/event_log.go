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

func stampMS(ms int64) string {
	text, _ := stamp(ms * 1000).(string)
	return text
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
	events, err := wholeTimes(c.read(), t, back, place, pageSize(req.Batch, 500))
	if err != nil {
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
