package conformance

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestRows(t *testing.T) {
	rows, err := readRows()
	if err != nil {
		t.Fatal(err)
	}
	at := theTarget(t)
	for _, r := range rows {
		t.Run(r.place+" "+r.name, func(t *testing.T) { at.run(t, r) })
	}
}

// Where the embedded server answers otherwise on purpose its page says so.
func TestDifferencesAreListed(t *testing.T) {
	rows, err := readRows()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile(filepath.Join("..", "..", "docs", "server.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		other := false
		for _, s := range r.steps {
			other = other || s.real != nil
		}
		if other != (r.differs != "") {
			t.Errorf("%s: a row has a <real reply if and only if it names the difference", r.place)
		}
		if r.differs != "" && !strings.Contains(string(doc), r.differs) {
			t.Errorf("%s: docs/server.md does not list %q", r.place, r.differs)
		}
	}
}

// patience bounds the repetition of a request; a lease lasts a minute.
const patience = 2 * time.Minute

func (at *target) run(t *testing.T, r *row) {
	now := time.Now()
	n := names{
		"$u": "conf-" + rand.Text()[:10], "$now": strconv.FormatInt(now.UnixMilli(), 10),
		"$begin": strconv.FormatInt(now.Unix()-3600, 10), "$end": strconv.FormatInt(now.Unix()+3600, 10),
	}
	var made []made
	defer func() { at.remove(t, made) }()
	for _, s := range r.steps {
		want := s.want
		if !at.ours && s.real != nil {
			want = s.real
		}
		body := []byte(n.fill(s.body))
		var bad string
		for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
			a, err := at.send(t.Context(), s.action, body, s.kind())
			if err != nil {
				t.Fatalf("%s: %v", s.place, err)
			}
			made = append(made, madeBy(s.action, a)...)
			if bad = n.check(want, a); bad == "" || !s.repeat || time.Now().After(deadline) {
				break
			}
		}
		if bad != "" {
			t.Fatalf("%s: %s %s: %s", s.place, s.action, body, bad)
		}
	}
}

func (s *step) kind() string {
	if s.lines {
		return "application/json-lines"
	}
	return "application/json"
}

func (n names) check(want *reply, a answer) string {
	if a.code != want.code || a.sub != want.sub {
		return fmt.Sprintf("got %d/%d %s, want %d/%d", a.code, a.sub, a.msg, want.code, want.sub)
	}
	if want.code != 200 {
		if text := n.fill(want.text); !strings.Contains(a.msg, text) {
			return fmt.Sprintf("got %q, want %q", a.msg, text)
		}
		return ""
	}
	if want.data == nil {
		return ""
	}
	return n.match("data", want.data, a.data)
}

// made is something that a row has made on the server.
type made struct{ action, body string }

// madeBy tells how to remove what a request has made.
func madeBy(action string, a answer) []made {
	data, _ := a.data.(map[string]any)
	id, _ := data["id"].(string)
	if id == "" {
		return nil
	}
	switch action {
	case "tasks.create", "tasks.clone":
		return []made{{"tasks.delete", fmt.Sprintf(`{"task":%q,"force":true}`, id)}}
	case "queues.create":
		return []made{{"queues.delete", fmt.Sprintf(`{"queue":%q,"force":true}`, id)}}
	case "projects.create":
		return []made{{"projects.delete", fmt.Sprintf(`{"project":%q,"force":true}`, id)}}
	case "models.create":
		return []made{{"models.delete", fmt.Sprintf(`{"model":%q,"force":true}`, id)}}
	}
	return nil
}

// remove leaves a server as it was. What a row has removed itself is refused.
func (at *target) remove(t *testing.T, all []made) {
	for i := len(all) - 1; i >= 0; i-- {
		if _, err := at.send(context.WithoutCancel(t.Context()), all[i].action, []byte(all[i].body), "application/json"); err != nil {
			t.Errorf("%s: %v", all[i].action, err)
		}
	}
}

// call is a request of a test that is no row.
func (at *target) call(t *testing.T, action string, req any) answer {
	t.Helper()
	body, err := json.Marshal(req)
	if err != nil {
		t.Fatal(err)
	}
	a, err := at.send(t.Context(), action, body, "application/json")
	if err != nil {
		t.Fatal(err)
	}
	return a
}
