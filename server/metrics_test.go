package server

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// What clients ask for in vain is counted, by labels that they can't choose.
func TestUnsupportedEndpointsAreCounted(t *testing.T) {
	s := newServer(t)
	s.refused(404, 0, "tasks.share", m{})
	for i := range 3 {
		s.refused(404, 0, fmt.Sprintf("made%d.up", i), m{})
	}
	s.call("debug.ping", m{})
	s.refused(400, 101, "tasks.get_by_id", m{"task": "nope"})
	get := func(token string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		s.api.ServeHTTP(w, r)
		return w
	}
	text := get(s.token).Body.String()
	for _, line := range []string{
		`agentctl_server_unsupported_requests_total{service="tasks"} 1`, `agentctl_server_unsupported_requests_total{service="other"} 3`,
		`agentctl_server_requests_total{code="200",endpoint="debug.ping"} 1`, `agentctl_server_requests_total{code="400",endpoint="tasks.get_by_id"} 1`,
	} {
		if !strings.Contains(text, line) {
			t.Errorf("no %s", line)
		}
	}
	task, err := s.keys.issue(tokenLife, s.newTask("task"))
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{"none": "", "a task's": task} {
		if w := get(token); w.Code == 200 || strings.Contains(w.Body.String(), "agentctl_server") {
			t.Errorf("%s token: %d", name, w.Code)
		}
	}
}
