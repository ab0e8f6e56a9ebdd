package server

import (
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strings"
	"time"
)

// maxBody bounds a request. The SDK cuts its batches at 15 MB.
const maxBody = 32 << 20

// bodyTime is how long a client may take to send its request, or a file the first of
// its bytes.
const bodyTime = 2 * time.Minute

// timed bounds how long a body is waited for, also one that nobody reads: that of a
// refused request is read to its end before the next one.
func timed(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			// An error means that the connection knows no deadlines, as in tests.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
		}
		h.ServeHTTP(w, r)
	})
}

// ServeHTTP answers the API port. GET, POST and PUT are the same here: ClearML's
// clients send nearly everything as GET with a body.
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/healthz" {
		a.srv.health(w, r)
		return
	}
	if r.URL.Path == "/metrics" {
		a.serveMetrics(w, r)
		return
	}
	reply := reply{endpoint: strings.TrimPrefix(r.URL.Path, "/"), requested: apiVersion, actual: apiVersion}
	switch r.Method {
	case http.MethodGet, http.MethodPost, http.MethodPut:
	case http.MethodHead, http.MethodOptions:
		w.WriteHeader(http.StatusOK)
		return
	default:
		reply.send(w, r, nil, refuse(http.StatusMethodNotAllowed, 0, "Method not allowed"), a.srv.log)
		return
	}
	data, err := a.answer(w, r, &reply)
	a.count(reply.endpoint, err)
	if d, ok := data.(*download); ok && err == nil {
		d.send(w, a)
		return
	}
	reply.send(w, r, data, err, a.srv.log)
}

// answer finds and runs the endpoint. A panic of one request's code must not
// end the process and with it everybody's requests.
func (a *api) answer(w http.ResponseWriter, r *http.Request, reply *reply) (data any, err error) {
	defer func() {
		if p := recover(); p != nil {
			a.srv.log.Error("a request panicked", "endpoint", reply.endpoint, "panic", p, "stack", string(debug.Stack()))
			data, err = nil, fmt.Errorf("internal error: %v", p)
		}
	}()
	name, ver, err := parsePath(r.URL.Path)
	if err != nil {
		return nil, err
	}
	reply.endpoint, reply.requested = name, ver.String()
	e := a.find(name, ver)
	if e == nil {
		a.metrics.missing(name)
		return nil, refuse(404, 0, "Unable to find endpoint for name %s and version %s", name, ver)
	}
	reply.actual = e.since.String()
	c := &call{srv: a.srv, ctx: r.Context(), query: r.URL.Query(), header: w.Header()}
	if !e.open {
		if c.caller, err = a.srv.keys.authorize(r, false); err != nil {
			return nil, err
		}
		if c.caller.task != "" && e.operator {
			return nil, forbidden(name)
		}
	}
	if c.body, err = readBody(w, r); err != nil {
		return nil, err
	}
	return e.run(c)
}

// count notes the status of a request to an endpoint that there is.
func (a *api) count(endpoint string, err error) {
	if a.endpoints[endpoint] == nil {
		return
	}
	code := http.StatusOK
	if err != nil {
		refused, _ := asRefusal(err)
		code = refused.code
	}
	a.metrics.request(endpoint, code)
}

func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength == 0 {
		return nil, nil
	}
	if r.ContentLength > maxBody {
		return nil, refuse(http.StatusRequestEntityTooLarge, 0, "Request too large: more than %d bytes", maxBody)
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return nil, refuse(400, 0, "Bad request: the body can't be read, or is larger than %d bytes", maxBody)
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{}) // it may be held for longer
	return body, nil
}

// parsePath reads [/v2.13]/service.action.
func parsePath(path string) (name string, ver version, err error) {
	bad := refuse(400, 0, "Invalid request path %.200s", path)
	ver = newest
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if len(parts) == 2 {
		v, ok := parseVersion(parts[0])
		if !ok {
			return "", ver, bad
		}
		ver, parts = v, parts[1:]
	}
	if len(parts) != 1 {
		return "", ver, bad
	}
	service, action, ok := strings.Cut(parts[0], ".")
	if !ok || service == "" || action == "" || len(parts[0]) > 200 {
		return "", ver, bad
	}
	return parts[0], ver, nil
}

// health answers liveness: the process serves and its store can be read.
func (s *Server) health(w http.ResponseWriter, _ *http.Request) {
	if _, err := s.store.read.one(`SELECT 1`, nil, new(int)); err != nil {
		http.Error(w, "the store can't be read", http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, "ok\n")
}
