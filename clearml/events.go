package clearml

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// LogEvent is a piece of a task's console: one line or several.
type LogEvent struct {
	Type   string `json:"type"` // always "log"
	Task   string `json:"task"`
	Worker string `json:"worker,omitempty"`
	Level  string `json:"level,omitempty"`
	Msg    string `json:"msg"`
	// Timestamp in ms since 1970. The sender makes it unique and rising for its task.
	Timestamp int64 `json:"timestamp"`
}

// AddEvents stores events in their order. An error that is *Unreachable with
// Ambiguous set says that the answer was lost: read back what arrived before
// sending again, since a server stores the same event twice. A batch of which
// the server refused a part is an error that names its reason.
func (c *Client) AddEvents(ctx context.Context, events []LogEvent) error {
	if len(events) == 0 {
		return nil
	}
	body, err := jsonLines(events)
	if err != nil {
		return err
	}
	var resp struct {
		Added  int            `json:"added"`
		Errors int            `json:"errors"`
		Info   map[string]int `json:"errors_info"`
	}
	err = c.call(ctx, call{action: "events.add_batch", lines: body, resp: &resp})
	var refused *Error
	switch {
	case errors.As(err, &refused) && refused.Subcode == subcodeEventsRefused && strings.Contains(refused.Message, "Invalid task id"):
		return fmt.Errorf("%w: %w", ErrTaskGone, err)
	case err != nil:
		return err
	case resp.Errors > 0:
		return &Error{Action: "events.add_batch", Code: 400, Subcode: subcodeEventsRefused, Message: clean(fmt.Sprintf("%d of %d events refused: %v", resp.Errors, len(events), resp.Info))}
	}
	return nil
}

func jsonLines(events []LogEvent) ([]byte, error) {
	var body bytes.Buffer
	enc := json.NewEncoder(&body)
	enc.SetEscapeHTML(false)
	for _, e := range events {
		e.Type = "log"
		// What a task said while somebody published it counts as well, as for the SDK.
		if err := enc.Encode(struct {
			LogEvent
			Locked bool `json:"allow_locked"`
		}{e, true}); err != nil {
			return nil, fmt.Errorf("cannot encode an event: %w", err)
		}
	}
	return body.Bytes(), nil
}

// LastLogEvents reads the newest events of a task's console, newest first: n of
// them, and those that share the timestamp of the oldest.
func (c *Client) LastLogEvents(ctx context.Context, task string, n int) ([]LogEvent, error) {
	return c.logEvents(ctx, map[string]any{
		"task": task, "batch_size": n, "navigate_earlier": true, "order": "desc",
	})
}

// LogEventsAfter reads the events behind the timestamp after (ms, 0 for all), in
// order: n of them, and those that share the timestamp of the newest.
func (c *Client) LogEventsAfter(ctx context.Context, task string, after int64, n int) ([]LogEvent, error) {
	req := map[string]any{"task": task, "batch_size": n, "navigate_earlier": false, "order": "asc"}
	if after != 0 {
		req["from_timestamp"] = after
	}
	return c.logEvents(ctx, req)
}

func (c *Client) logEvents(ctx context.Context, req any) ([]LogEvent, error) {
	var resp struct {
		Events []struct {
			LogEvent
			Timestamp float64 `json:"timestamp"` // a server may write 1.7e12
		} `json:"events"`
	}
	if err := c.Read(ctx, "events.get_task_log", req, &resp); err != nil {
		return nil, err
	}
	events := make([]LogEvent, 0, len(resp.Events))
	for _, e := range resp.Events {
		e.LogEvent.Timestamp = int64(e.Timestamp)
		events = append(events, e.LogEvent)
	}
	return events, nil
}
