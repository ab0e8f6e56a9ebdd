package server

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// request sends a request as it is, without the helper's token.
func (s *testServer) request(method, path, body string, header http.Header) (answer, http.Header) {
	s.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for k, v := range header {
		r.Header[k] = v
	}
	w := httptest.NewRecorder()
	s.api.ServeHTTP(w, r)
	return readAnswer(s.t, w), w.Header()
}

func basic(c Credentials) http.Header {
	return http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(c.AccessKey+":"+c.SecretKey))}}
}

func bearer(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }

func claimsOf(t *testing.T, token string) claims {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var c claims
	if err := json.Unmarshal(raw, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLogin(t *testing.T) {
	s := newServer(t)
	a, header := s.request("GET", "/v2.5/auth.login", "", basic(s.Credentials()))
	token, _ := a.Data["token"].(string)
	c := claimsOf(t, token)
	if c.APIVersion != "2.34" || c.FeatureSet != "basic" || c.Identity.User != userID || c.Identity.Company != companyID || c.Task != "" {
		t.Errorf("claims %+v", c)
	}
	if life := c.ExpiresAt.Sub(c.IssuedAt.Time); life != 30*24*time.Hour {
		t.Errorf("life %s", life)
	}
	if cookie := header.Get("Set-Cookie"); !strings.Contains(cookie, "clearml_token_basic="+token) || !strings.Contains(cookie, "HttpOnly") {
		t.Errorf("cookie %q", cookie)
	}
	// The life may be asked for, in the query as well, but is never too short.
	for path, want := range map[string]time.Duration{
		"/auth.login?expiration_sec=100000": 100000 * time.Second, "/auth.login?expiration_sec=5": minTokenLife,
		"/auth.login?expiration_sec=99999999999999": maxTokenLife, "/auth.login?expiration_sec=-1": tokenLife,
	} {
		a, _ := s.request("GET", path, "", basic(s.Credentials()))
		c := claimsOf(t, a.Data["token"].(string))
		if life := c.ExpiresAt.Sub(c.IssuedAt.Time); life != want {
			t.Errorf("%s: life %s, want %s", path, life, want)
		}
	}
}

func TestCredentialsAreChecked(t *testing.T) {
	s := newServer(t)
	good, _ := s.keys.issue(tokenLife, "")
	forged := good[:len(good)-4] + "AAAA"
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + strings.Split(good, ".")[1] + "."
	for name, tc := range map[string]struct {
		header http.Header
		sub    int
	}{
		"nothing":         {nil, 20},
		"another scheme":  {http.Header{"Authorization": {"Digest x"}}, 20},
		"a bad key":       {basic(Credentials{"x", "y"}), 22},
		"half a key":      {basic(Credentials{s.Credentials().AccessKey, ""}), 22},
		"no token":        {bearer(""), 30},
		"a forged token":  {bearer(forged), 30},
		"an unsigned one": {bearer(none), 30},
		"a cookie":        {http.Header{"Cookie": {cookieName + "=" + good}}, 20},
	} {
		if a, _ := s.request("POST", "/tasks.get_all", "{}", tc.header); a.Code != 401 || a.Sub != tc.sub {
			t.Errorf("%s: %d/%d %s", name, a.Code, a.Sub, a.Msg)
		}
	}
	s.clock.advance(tokenLife + time.Minute)
	if a, _ := s.request("GET", "/tasks.get_all", "{}", bearer(good)); a.Code != 401 {
		t.Errorf("an expired token: %d", a.Code)
	}
}

func TestTaskToken(t *testing.T) {
	s := newServer(t)
	own, foreign, q := s.newTask("own task"), s.newTask("foreign task"), s.newQueue("queue")
	s.refused(400, 101, "auth.task_token", m{"task": "nope"})
	token := s.call("auth.task_token", m{"task": own, "expiration_sec": 60 * 60 * 24})["token"].(string)
	task := s.as(token)

	// Its own task, and those that it has created.
	task.call("tasks.started", m{"task": own})
	child := task.newTask("child")
	task.call("tasks.enqueue", m{"task": child, "queue": q})
	clone := task.call("tasks.clone", m{"task": foreign, "new_task_name": "clone of it"})["id"].(string)
	task.call("tasks.edit", m{"task": clone, "comment": "x"})
	if got := task.task(foreign)["name"]; got != "foreign task" {
		t.Error("it must read others", got)
	}
	// Nothing else.
	for _, action := range []string{"started", "stopped", "stop", "failed", "completed", "enqueue", "dequeue", "reset", "delete", "edit", "update", "ping"} {
		task.refused(403, 20, "tasks."+action, m{"task": foreign, "force": true})
	}
	for _, action := range []string{
		"queues.get_next_task", "queues.delete", "queues.move_task_to_front", "queues.create", "workers.register", "workers.unregister", "workers.status_report", "auth.task_token",
	} {
		task.refused(403, 20, action, m{"task": own, "queue": q, "worker": "w", "timestamp": 1, "name": "name"})
	}
	project := s.call("projects.create", m{"name": "project"})["id"]
	task.call("projects.update", m{"project": project, "name": "project", "system_tags": []string{"pipeline"}})
	for _, change := range []m{{"name": "renamed"}, {"default_output_destination": "s3://elsewhere"}} {
		change["project"] = project
		task.refused(403, 20, "projects.update", change)
	}
	if a := task.do("events.add_batch", `{"type":"log","task":"`+foreign+`","msg":"x"}`); a.Code != 400 || a.Sub != 131 {
		t.Errorf("event for a foreign task: %+v", a)
	}
	// It stays what it is when it is renewed, and no renewal is too short.
	for _, path := range []string{"/auth.login", "/auth.login?expiration_sec=99999999"} {
		a, _ := s.request("GET", path, "", bearer(token))
		renewed := claimsOf(t, a.Data["token"].(string))
		if renewed.Task != own || renewed.ExpiresAt.Sub(renewed.IssuedAt.Time) != 24*time.Hour {
			t.Errorf("renewed by %s: %+v", path, renewed)
		}
	}
}

func TestPathsAndVersions(t *testing.T) {
	s := newServer(t)
	for path, want := range map[string]answer{
		"/":                     {Code: 400, Msg: "Invalid request path /"},
		"/foo":                  {Code: 400, Msg: "Invalid request path /foo"},
		"/v2.13/foo":            {Code: 400, Msg: "Invalid request path /v2.13/foo"},
		"/vx.y/tasks.get_all":   {Code: 400, Msg: "Invalid request path /vx.y/tasks.get_all"},
		"/no.such":              {Code: 404, Msg: "Unable to find endpoint for name no.such and version 2.34"},
		"/v2.14/no.such":        {Code: 404, Msg: "Unable to find endpoint for name no.such and version 2.14"},
		"/v0.9/tasks.get_all":   {Code: 404, Msg: "Unable to find endpoint for name tasks.get_all and version 0.9"},
		"/v9.99/tasks.get_all":  {Code: 200, Msg: "OK"},
		"/v2.5/tasks.get_all":   {Code: 200, Msg: "OK"},
		"/tasks.get_all":        {Code: 200, Msg: "OK"},
		"/workers.get_nonsense": {Code: 404, Msg: "Unable to find endpoint for name workers.get_nonsense and version 2.34"},
	} {
		for _, method := range []string{"GET", "POST", "PUT"} {
			a, _ := s.request(method, path, "{}", bearer(s.token))
			if a.Code != want.Code || a.Sub != 0 || a.Msg != want.Msg {
				t.Errorf("%s %s: %+v", method, path, a)
			}
		}
	}
}

func TestQueryParameters(t *testing.T) {
	s := newServer(t)
	id := s.newTask("12345")
	a, _ := s.request("GET", "/tasks.get_by_id?task="+id, "", bearer(s.token))
	if a.Code != 200 {
		t.Errorf("%+v", a)
	}
	a, _ = s.request("GET", "/tasks.get_all?name=12345&page=0&page_size=5&search_hidden=true&id="+id+"&id=x", "", bearer(s.token))
	if a.Code != 200 || len(a.Data["tasks"].([]any)) != 1 {
		t.Errorf("%+v", a)
	}
}
