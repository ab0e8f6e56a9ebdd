package clearml

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync/atomic"
	"time"
)

// call sends r, renews the token once when it is refused, and repeats what may
// be repeated.
func (c *Client) call(ctx context.Context, r call) error {
	renewed := false
	for attempt := 1; ; attempt++ {
		pause, err := c.attempt(ctx, r)
		switch {
		case err == nil:
			return nil
		case IsUnauthorized(err) && r.login == nil && !renewed:
			// The server has forgotten the token, or its rights have changed.
			renewed = true
			c.auth.forget()
			continue
		case ctx.Err() != nil, attempt >= c.cfg.Attempts, !c.mayRepeat(r, err):
			return err
		}
		if err := sleep(ctx, max(pause, backOff(attempt))); err != nil {
			return &Unreachable{Action: r.action, Err: err}
		}
	}
}

// mayRepeat: a call without an answer, or with a fault of the server's own, if it changes
// nothing; and one that can't have reached the server.
func (c *Client) mayRepeat(r call, err error) bool {
	var u *Unreachable
	if errors.As(err, &u) {
		return r.repeatable || !u.Ambiguous
	}
	var e *Error
	return r.repeatable && errors.As(err, &e) && e.Code >= http.StatusInternalServerError
}

// backOff is 50 ms, 100 ms, … 2 s with jitter, so that a fleet does not come
// back as one.
func backOff(attempt int) time.Duration {
	d := min(50*time.Millisecond<<min(attempt-1, 6), 2*time.Second)
	return d/2 + rand.N(d/2)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// attempt sends r once. pause is how long the server asked to be left alone.
func (c *Client) attempt(ctx context.Context, r call) (pause time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout+r.wait)
	defer cancel()
	req, err := c.request(ctx, r)
	if err != nil {
		return 0, err
	}
	var connected atomic.Bool
	req = req.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	}))
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, &Unreachable{Action: r.action, Ambiguous: connected.Load() && !r.repeatable, Err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	return readReply(resp, r)
}

// request builds the HTTP request with the session's token, logging in if that
// is needed.
func (c *Client) request(ctx context.Context, r call) (*http.Request, error) {
	body, kind := r.lines, "application/json-lines"
	if body == nil {
		kind = "application/json"
		var err error
		if body, err = encode(r.body); err != nil {
			return nil, fmt.Errorf("cannot encode the request of %s: %w", r.action, err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, r.method(), c.base+r.action, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("cannot make the request of %s: %w", r.action, err)
	}
	req.Header.Set("Content-Type", kind)
	if c.cfg.UserAgent != "" {
		req.Header.Set("User-Agent", c.cfg.UserAgent)
		req.Header.Set("X-Clearml-Agent", c.cfg.UserAgent)
	}
	req.Header.Set("X-Clearml-Worker", c.cfg.WorkerHost)
	return req, c.authorize(ctx, req, r)
}

func (c *Client) authorize(ctx context.Context, req *http.Request, r call) error {
	switch {
	case r.login != nil && r.login.Token != "":
		req.Header.Set("Authorization", "Bearer "+r.login.Token)
	case r.login != nil:
		req.SetBasicAuth(r.login.AccessKey, r.login.SecretKey)
	default:
		token, err := c.auth.token(ctx)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return nil
}

func encode(v any) ([]byte, error) {
	if v == nil {
		return []byte("{}"), nil
	}
	return json.Marshal(v)
}

// readReply turns an HTTP response into the call's result.
func readReply(resp *http.Response, r call) (pause time.Duration, err error) {
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	if err != nil {
		return 0, &Unreachable{Action: r.action, Ambiguous: !r.repeatable, Err: err}
	}
	if len(data) > maxReply {
		return 0, &Unreachable{Action: r.action, Ambiguous: !r.repeatable, Err: fmt.Errorf("the reply is larger than %d bytes", maxReply)}
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return retryAfter(resp.Header), &Unreachable{Action: r.action, Err: statusError(resp, data)}
	case http.StatusBadGateway, http.StatusGatewayTimeout:
		return 0, &Unreachable{Action: r.action, Ambiguous: !r.repeatable, Err: statusError(resp, data)}
	}
	return 0, decode(r, resp, data)
}

func decode(r call, resp *http.Response, data []byte) error {
	env, err := decodeEnvelope(data)
	if err != nil {
		// Something else than a ClearML server answers here, or half an answer came.
		return &Unreachable{Action: r.action, Ambiguous: !r.repeatable, Err: fmt.Errorf("%w; %w", err, statusError(resp, nil))}
	}
	if env.Meta.Code != http.StatusOK || resp.StatusCode != http.StatusOK {
		return &Error{Action: r.action, Code: env.code(resp.StatusCode), Subcode: env.Meta.Subcode, Message: clean(env.Meta.Message)}
	}
	if r.resp == nil {
		return nil
	}
	if err := json.Unmarshal(env.Data, r.resp); err != nil {
		return &Unreachable{Action: r.action, Ambiguous: !r.repeatable, Err: fmt.Errorf("cannot read the reply: %w", err)}
	}
	return nil
}

func statusError(resp *http.Response, data []byte) error {
	if loc := resp.Header.Get("Location"); loc != "" {
		return fmt.Errorf("HTTP status %d, redirected to %s: write that address", resp.StatusCode, clean(loc))
	}
	if env, err := decodeEnvelope(data); err == nil {
		return fmt.Errorf("HTTP status %d: %s", resp.StatusCode, clean(env.Meta.Message))
	}
	return fmt.Errorf("HTTP status %d", resp.StatusCode)
}

// retryAfter reads the header's seconds, bounded: a hostile server must not put
// a client to sleep for a year.
func retryAfter(h http.Header) time.Duration {
	n, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return min(time.Duration(n)*time.Second, 10*time.Second)
}
