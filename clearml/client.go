package clearml

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// Config is what a client needs.
type Config struct {
	// URL of the API server, as "https://api.example.com". A path is kept and
	// put before each endpoint's name.
	URL string
	// Credentials is called for each login, so that keys rotate live.
	Credentials func(context.Context) (Credentials, error)
	// UserAgent names this program to the server.
	UserAgent string
	// WorkerHost goes out as X-Clearml-Worker; the host name when empty.
	WorkerHost string
	// HTTP sends the requests; nil for a client with sensible limits. It must
	// not follow redirects and must not have a total timeout below Timeout.
	HTTP *http.Client
	// Timeout bounds one attempt of one call beyond the time that a long poll
	// asks for; 0 means 60 s.
	Timeout time.Duration
	// Attempts bounds how often a call that may be repeated is tried; 0 means 4.
	Attempts int
	// Log gets what is not worth an error; nil for none.
	Log *slog.Logger
	// Now is the clock that tokens are held against; nil for time.Now.
	Now func() time.Time
}

// Credentials log a client in: a pair of keys, or a token that somebody else
// was given by the server.
type Credentials struct {
	AccessKey string
	SecretKey string
	Token     string
}

// Limits of one reply. A task with a large diff is some megabytes; a page of
// events is bounded by what was sent.
const maxReply = 64 << 20

// Client speaks to one ClearML server. It is safe for use by many goroutines.
type Client struct {
	cfg  Config
	base string
	auth *session
	http *http.Client
	// noTaskToken: the server has no auth.task_token. An endpoint that is missing is
	// asked for once, not with every task.
	noTaskToken atomic.Bool
}

// New returns a client. It sends nothing yet.
func New(cfg Config) (*Client, error) {
	u, err := url.Parse(strings.TrimRight(cfg.URL, "/"))
	if err != nil {
		return nil, errors.New("cannot use the server's URL: it is no URL") // the parser's error would show a password in it
	}
	switch {
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, errors.New("cannot use the server's URL: write it as http://HOST:PORT or https://HOST")
	case u.User != nil:
		return nil, errors.New("cannot use the server's URL: it carries a user name or password; keep credentials in their own file")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("cannot use the server's URL: it has a query or a fragment")
	case cfg.Credentials == nil:
		return nil, errors.New("cannot use the server: no credentials are given")
	}
	if cfg.WorkerHost == "" {
		cfg.WorkerHost, _ = os.Hostname()
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute
	}
	if cfg.Attempts == 0 {
		cfg.Attempts = 4
	}
	c := &Client{cfg: cfg, base: u.String() + "/", http: cfg.HTTP}
	if c.http == nil {
		c.http = newHTTP()
	}
	c.auth = &session{client: c}
	return c, nil
}

// newHTTP keeps idle connections for less long than servers and proxies do, so
// that a write seldom meets one that the other side is just closing.
func newHTTP() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
			ForceAttemptHTTP2:     true,
			MaxIdleConns:          64,
			MaxIdleConnsPerHost:   32,
			IdleConnTimeout:       30 * time.Second,
			TLSHandshakeTimeout:   10 * time.Second,
			ExpectContinueTimeout: time.Second,
		},
		// A redirect would turn a POST into a GET and may lead to another host.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// URL is the API server's address.
func (c *Client) URL() string { return strings.TrimRight(c.base, "/") }

// Close drops idle connections. Calls that run go on.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Call sends one request as a write: it is repeated only when the server has
// turned it away without looking at it. req is any value that encodes as a JSON
// object, or nil; resp gets the reply's data, or is nil.
func (c *Client) Call(ctx context.Context, action string, req, resp any) error {
	return c.call(ctx, call{action: action, body: req, resp: resp})
}

// Read is Call for an endpoint that changes nothing: it is repeated with
// back-off when no answer comes.
func (c *Client) Read(ctx context.Context, action string, req, resp any) error {
	return c.call(ctx, call{action: action, body: req, resp: resp, repeatable: true})
}

// call is one request before it is sent.
type call struct {
	action     string
	body       any           // encoded as JSON unless lines is set
	lines      []byte        // an application/json-lines body
	resp       any           // gets the envelope's data
	wait       time.Duration // how long the server may hold the call
	repeatable bool
	login      *Credentials // sent in place of the session's token
}

func (c call) method() string {
	if c.repeatable {
		return http.MethodGet
	}
	return http.MethodPost
}

// ServerVersion asks the server what it is.
func (c *Client) ServerVersion(ctx context.Context) (string, error) {
	var info struct {
		Version string `json:"version"`
	}
	if err := c.Read(ctx, "server.info", nil, &info); err != nil {
		return "", fmt.Errorf("cannot ask the server for its version: %w", err)
	}
	return info.Version, nil
}
