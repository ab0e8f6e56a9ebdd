package server

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
)

// Types of events.
const (
	typeLog    = "log"
	typeScalar = "training_stats_scalar"
	typeVector = "training_stats_vector"
	typePlot   = "plot"
	typeImage  = "training_debug_image"
)

// singleIter is the iteration of a single value, which is no step of a curve.
const singleIter = -(1 << 31)

// event is one event of a batch. What a type does not use stays in raw, which is
// stored as it came for plots, images and vectors.
type event struct {
	Type       string      `json:"type"`
	Task       string      `json:"task"`
	Model      string      `json:"model"`
	Worker     string      `json:"worker"`
	Timestamp  json.Number `json:"timestamp"`
	Iter       json.Number `json:"iter"`
	Metric     string      `json:"metric"`
	Variant    string      `json:"variant"`
	Value      any         `json:"value"`
	Level      string      `json:"level"`
	Msg        string      `json:"msg"`
	ModelEvent bool        `json:"model_event"`
	Locked     bool        `json:"allow_locked"`

	raw  json.RawMessage
	ts   int64 // ms
	iter int64
	num  float64
}

// Limits of one event. ClearML's own agent sends at most 64 KiB of console in one.
const (
	maxMsg  = 4 << 20
	maxName = 4 << 10
)

// parseEvents reads a batch: JSON values one after the other, each an event or a
// list of them. A value that is no event is counted among refused; a body that
// is no JSON is an error.
func parseEvents(body []byte, now int64, refused map[string]int) (events []*event, total int, err error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	for {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err == io.EOF {
			return events, total, nil
		} else if err != nil {
			return nil, 0, refuse(400, 0, "Bad request: the body is not lines of JSON")
		}
		items := []json.RawMessage{raw}
		if len(raw) > 0 && raw[0] == '[' {
			items = nil
			_ = json.Unmarshal(raw, &items) // it is a JSON list
		}
		for _, item := range items {
			total++
			e, reason := parseEvent(item, now)
			if reason != "" {
				refused[reason]++
				continue
			}
			events = append(events, e)
		}
	}
}

// parseEvent reads one event; reason says why it can't be stored.
func parseEvent(raw json.RawMessage, now int64) (e *event, reason string) {
	e = &event{raw: raw}
	if err := json.Unmarshal(raw, e); err != nil {
		return nil, "Invalid event: " + decodeError(err).Error()
	}
	if e.ModelEvent && e.Model != "" {
		e.Task = e.Model
	}
	switch {
	case e.Task == "":
		return nil, "Event must have a 'task' field"
	case len(e.Metric) > maxName || len(e.Variant) > maxName || len(e.Worker) > maxName || len(e.Level) > maxName:
		return nil, "Invalid event: a name is too long"
	case len(e.Msg) > maxMsg:
		return nil, fmt.Sprintf("Invalid event: a message of more than %d bytes", maxMsg)
	}
	var ok bool
	if e.ts, ok = integer(e.Timestamp, now); !ok {
		return nil, "Invalid event: bad timestamp"
	}
	if e.iter, ok = integer(e.Iter, 0); !ok {
		return nil, "Invalid event: bad iter"
	}
	if e.Worker == "" {
		e.Worker = "<unknown>"
	}
	e.Type = strings.ReplaceAll(e.Type, " ", "_")
	return e, e.checkType()
}

func (e *event) checkType() (reason string) {
	switch e.Type {
	case typeLog:
		if e.ModelEvent {
			return "Task log events are not supported for models"
		}
	case typeVector, typePlot, typeImage:
		if e.Type == typeImage && e.Metric == "" {
			return "Invalid event: an image without a metric"
		}
	case typeScalar:
		v, ok := e.Value.(float64)
		if !ok || math.IsNaN(v) || math.IsInf(v, 0) {
			return "Invalid event: the value of a scalar is no number"
		}
		e.num = v
	default:
		return fmt.Sprintf("Invalid event type %.40q", e.Type)
	}
	return ""
}

// integer reads a number that clients write as 5, 5.0 or "5".
func integer(n json.Number, missing int64) (int64, bool) {
	if n == "" {
		return missing, true
	}
	if i, err := n.Int64(); err == nil {
		return i, true
	}
	f, err := n.Float64()
	if err != nil || math.IsNaN(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int64(f), true
}

// addEvents stores a batch. Each event is accepted or refused by itself; a batch
// of which nothing was accepted is an error.
func addEvents(c *call) (any, error) {
	refused := map[string]int{}
	events, total, err := parseEvents(c.body, c.srv.now().UnixMilli(), refused)
	if err != nil {
		return nil, err
	}
	if total == 0 {
		return nil, refuse(400, 17, "Batch contains no items")
	}
	added := 0
	err = c.update(func(t *tx) (err error) {
		added, err = t.addEvents(c, events, refused)
		return err
	})
	if err != nil {
		return nil, err
	}
	if added == 0 {
		return nil, refuse(400, 131, "Events not added: %s", countText(refused))
	}
	return map[string]any{"added": added, "errors": total - added, "errors_info": refused}, nil
}

func countText(refused map[string]int) string {
	text := ""
	for reason, n := range refused {
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf("%s=%d", reason, n)
	}
	return text
}
