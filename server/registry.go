package server

import (
	"fmt"
	"strconv"
	"strings"
)

// version is a version of the API.
type version struct{ major, minor int }

var newest = version{2, 34}

func (v version) String() string { return fmt.Sprintf("%d.%d", v.major, v.minor) }

func (v version) before(o version) bool {
	return v.major < o.major || v.major == o.major && v.minor < o.minor
}

// parseVersion reads "v2.13"; one above the newest is taken for the newest's.
func parseVersion(s string) (version, bool) {
	major, minor, ok := strings.Cut(strings.TrimPrefix(s, "v"), ".")
	if !ok || !strings.HasPrefix(s, "v") {
		return version{}, false
	}
	a, err := strconv.ParseUint(major, 10, 16)
	if err != nil {
		return version{}, false
	}
	b, err := strconv.ParseUint(minor, 10, 16)
	if err != nil {
		return version{}, false
	}
	return version{int(a), int(b)}, true
}

// endpoint is one implementation of one action.
type endpoint struct {
	name  string
	since version // the first version of the API that has this implementation
	run   func(*call) (any, error)
	// open needs no credentials; operator is not for a task's token.
	open, operator bool
}

// api finds endpoints.
type api struct {
	srv       *Server
	metrics   *metrics
	endpoints map[string][]*endpoint
}

func newAPI(s *Server) *api {
	a := &api{srv: s, endpoints: map[string][]*endpoint{}}
	for _, group := range [][]*endpoint{
		authEndpoints(), projectEndpoints(), taskEndpoints(), statusEndpoints(), paramEndpoints(),
		queueEndpoints(), workerEndpoints(), eventEndpoints(), modelEndpoints(), pipelineEndpoints(),
	} {
		for _, e := range group {
			if e.since == (version{}) {
				e.since = version{1, 0}
			}
			a.endpoints[e.name] = append(a.endpoints[e.name], e)
		}
	}
	a.metrics = newMetrics(a, s.log)
	return a
}

// find gives the newest implementation that is not newer than the version asked
// for.
func (a *api) find(name string, v version) *endpoint {
	var best *endpoint
	for _, e := range a.endpoints[name] {
		if !v.before(e.since) && (best == nil || best.since.before(e.since)) {
			best = e
		}
	}
	return best
}

// on makes an endpoint whose request is decoded into Req.
func on[Req any](name string, f func(*call, *Req) (any, error)) *endpoint {
	return &endpoint{name: name, run: func(c *call) (any, error) {
		var req Req
		if err := c.decode(&req); err != nil {
			return nil, err
		}
		return f(c, &req)
	}}
}

// raw makes an endpoint that reads the body itself.
func raw(name string, f func(*call) (any, error)) *endpoint { return &endpoint{name: name, run: f} }

// anybody opens an endpoint to requests without credentials.
func anybody(e *endpoint) *endpoint { e.open = true; return e }

// operator closes an endpoint to tasks' tokens.
func operator(e *endpoint) *endpoint { e.operator = true; return e }

// from says since which version an implementation is there.
func from(major, minor int, e *endpoint) *endpoint { e.since = version{major, minor}; return e }
