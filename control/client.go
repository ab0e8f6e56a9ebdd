package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"agentctl/reconcile"
)

// maxReply bounds what a client reads of one answer.
const maxReply = 256 << 20

// Client speaks to the agent on a socket. It may be used from many goroutines.
type Client struct {
	path string
	http *http.Client
}

// NewClient returns a client; nothing is sent yet.
func NewClient(path string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", path)
	}
	return &Client{path, &http.Client{Transport: &http.Transport{DialContext: dial, IdleConnTimeout: 30 * time.Second}}}
}

// Close drops idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Agent asks who answers.
func (c *Client) Agent(ctx context.Context) (a Agent, err error) {
	err = c.call(ctx, http.MethodGet, pathAgent, nil, &a)
	return a, err
}

// Status reads the snapshot.
func (c *Client) Status(ctx context.Context) (*reconcile.Snapshot, error) {
	s := &reconcile.Snapshot{}
	return s, c.call(ctx, http.MethodGet, pathStatus, nil, s)
}

// Plan asks what a spec would change.
func (c *Client) Plan(ctx context.Context, r PlanRequest) (p reconcile.Preview, err error) {
	err = c.call(ctx, http.MethodPost, pathPlan, r, &p)
	return p, err
}

// Apply hands a spec over.
func (c *Client) Apply(ctx context.Context, r ApplyRequest) (res reconcile.Result, err error) {
	err = c.call(ctx, http.MethodPost, pathApply, r, &res)
	return res, err
}

// History lists the accepted specs that are kept, newest first.
func (c *Client) History(ctx context.Context) (list []Revision, err error) {
	err = c.call(ctx, http.MethodGet, pathHistory, nil, &list)
	return list, err
}

// Revision reads an accepted spec; 0 is the one in force.
func (c *Client) Revision(ctx context.Context, number int64) (r RevisionText, err error) {
	err = c.call(ctx, http.MethodGet, fmt.Sprintf("%s?number=%d", pathRevision, number), nil, &r)
	return r, err
}

// Blame tells of each field of the spec in force what set it.
func (c *Client) Blame(ctx context.Context) (list []Blame, err error) {
	err = c.call(ctx, http.MethodGet, pathBlame, nil, &list)
	return list, err
}

// Suspend lets the source have no say until Resume.
func (c *Client) Suspend(ctx context.Context, message string) (res reconcile.Result, err error) {
	err = c.call(ctx, http.MethodPost, pathSuspend, SuspendRequest{message}, &res)
	return res, err
}

// Resume lets the source be followed again.
func (c *Client) Resume(ctx context.Context) (res reconcile.Result, err error) {
	err = c.call(ctx, http.MethodPost, pathResume, struct{}{}, &res)
	return res, err
}

// Confirm keeps what is tried.
func (c *Client) Confirm(ctx context.Context) (res reconcile.Result, err error) {
	err = c.call(ctx, http.MethodPost, pathConfirm, struct{}{}, &res)
	return res, err
}

// Rollback makes an earlier revision the spec, or shows what that would do.
func (c *Client) Rollback(ctx context.Context, r RollbackRequest) (reply RollbackReply, err error) {
	err = c.call(ctx, http.MethodPost, pathRollback, r, &reply)
	return reply, err
}

// Reload has the source of the spec read again.
func (c *Client) Reload(ctx context.Context, r ReloadRequest) (res reconcile.Result, err error) {
	err = c.call(ctx, http.MethodPost, pathReload, r, &res)
	return res, err
}

// Fetch asks what a repository, or the source, holds now.
func (c *Client) Fetch(ctx context.Context, r FetchRequest) (reply FetchReply, err error) {
	err = c.call(ctx, http.MethodPost, pathFetch, r, &reply)
	return reply, err
}

// Order takes workers out of service, or lets them take tasks again; it returns their
// names.
func (c *Client) Order(ctx context.Context, r OrderRequest) ([]string, error) {
	var reply OrderReply
	err := c.call(ctx, http.MethodPost, pathOrder, r, &reply)
	return reply.Workers, err
}

// StopTask stops a task, named by its id or the beginning of one; it returns the id.
func (c *Client) StopTask(ctx context.Context, task string) (string, error) {
	var reply StopReply
	err := c.call(ctx, http.MethodPost, pathStop, StopRequest{task}, &reply)
	return reply.Task, err
}

// Audit tells what tasks of workers, or running tasks, can reach.
func (c *Client) Audit(ctx context.Context, names []string) (list []Reach, err error) {
	err = c.call(ctx, http.MethodPost, pathAudit, AuditRequest{names}, &list)
	return list, err
}

// Usages tells what running tasks use.
func (c *Client) Usages(ctx context.Context) (list []Usage, err error) {
	err = c.call(ctx, http.MethodGet, pathUsage, nil, &list)
	return list, err
}

// Environments lists the environment cache.
func (c *Client) Environments(ctx context.Context) (list []Environment, err error) {
	err = c.call(ctx, http.MethodGet, pathEnvironments, nil, &list)
	return list, err
}

// Execute has a task run now; it returns once the task is this node's.
func (c *Client) Execute(ctx context.Context, r ExecuteRequest) error {
	return c.call(ctx, http.MethodPost, pathExecute, r, nil)
}

// Build has what a task needs made.
func (c *Client) Build(ctx context.Context, r BuildRequest) (b BuildReply, err error) {
	return b, c.call(ctx, http.MethodPost, pathBuild, r, &b)
}

// Shutdown ends the agent; its tasks go on.
func (c *Client) Shutdown(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, pathShutdown, struct{}{}, nil)
}

// call sends one request and decodes its answer.
func (c *Client) call(ctx context.Context, method, path string, body, into any) error {
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	if into == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxReply)).Decode(into); err != nil {
		return fmt.Errorf("cannot read the agent's answer: %w", err)
	}
	return nil
}

// send returns an answer with status 200, whose body the caller closes.
func (c *Client) send(ctx context.Context, method, path string, body any) (*http.Response, error) {
	var sent io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, fmt.Errorf("cannot encode the request: %w", err)
		}
		sent = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://agentctl"+path, sent)
	if err != nil {
		return nil, fmt.Errorf("cannot make the request: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	return nil, refusal(resp)
}

// unreachable makes ErrNoAgent of what says that nobody listens.
func (c *Client) unreachable(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w on %s; start one with `agentctl apply FILE` or `agentctl agent`", ErrNoAgent, c.path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("cannot speak to the agent on %s: it belongs to another user; run this as that user or as root: %w", c.path, fs.ErrPermission)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("%w any more on %s", ErrNoAgent, c.path)
	}
	return fmt.Errorf("cannot speak to the agent on %s: %w", c.path, err)
}

func refusal(resp *http.Response) error {
	data, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("cannot read the agent's answer: %w", err)
	}
	var e Error
	if json.Unmarshal(data, &e) == nil && e.Code != "" {
		return &e
	}
	return fmt.Errorf("the agent answers with HTTP status %d: %.200q", resp.StatusCode, strings.TrimSpace(string(data)))
}
