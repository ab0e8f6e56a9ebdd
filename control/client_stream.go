package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"agentctl/reconcile"
)

// ErrCut means that a stream ended before its end: the agent went away.
var ErrCut = errors.New("the agent went away")

// Watch calls see with the present snapshot and with newer ones until ctx ends,
// see fails, or the agent goes away (ErrCut). It returns see's error, or ctx's.
func (c *Client) Watch(ctx context.Context, see func(*reconcile.Snapshot) error) error {
	return c.stream(ctx, pathWatch, func(d *json.Decoder) error {
		s := &reconcile.Snapshot{}
		if err := d.Decode(s); err != nil {
			return broken(err)
		}
		return see(s)
	})
}

// LogsRequest asks for a task's console.
type LogsRequest struct {
	// Task is its id or the beginning of one.
	Task string
	// From is where to begin, as the End of a frame; 0 for all.
	From int64
	// Follow goes on until the task has ended.
	Follow bool
}

// Logs calls see with the frames of a console. It returns nil at its end, and
// ErrCut when the agent went away before it.
func (c *Client) Logs(ctx context.Context, r LogsRequest, see func(Frame) error) error {
	q := url.Values{"task": {r.Task}, "from": {strconv.FormatInt(r.From, 10)}, "follow": {strconv.FormatBool(r.Follow)}}
	err := c.stream(ctx, pathLogs+"?"+q.Encode(), func(d *json.Decoder) error {
		var f Frame
		if err := d.Decode(&f); err != nil {
			return broken(err)
		}
		if f.EOF {
			return errEnd
		}
		return see(f)
	})
	if errors.Is(err, errEnd) {
		return nil
	}
	return err
}

var errEnd = errors.New("the end")

func broken(err error) error {
	return fmt.Errorf("%w: %w", ErrCut, err)
}

// stream calls next until it fails.
func (c *Client) stream(ctx context.Context, path string, next func(*json.Decoder) error) error {
	resp, err := c.send(ctx, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	d := json.NewDecoder(io.Reader(resp.Body))
	for {
		err := next(d)
		if err != nil && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
	}
}
