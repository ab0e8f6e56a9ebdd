package conformance

import (
	"os"
	"strconv"
	"strings"
	"testing"
)

// waysTo are the calls that bring a new task to a state.
var waysTo = map[string][]string{
	"created": {}, "queued": {"enqueue"}, "in_progress": {"started"}, "stopped": {"started", "stopped"},
	"failed": {"started", "failed"}, "completed": {"started", "completed"}, "closed": {"started", "stopped", "close"},
	"published": {"started", "completed", "publish"},
}

// Every call in every state, without force and with it.
func TestStates(t *testing.T) {
	at := theTarget(t)
	for name, force := range map[string]bool{"states": false, "force": true} {
		table, err := os.ReadFile("testdata/" + name + ".table")
		if err != nil {
			t.Fatal(err)
		}
		var states []string
		for line := range strings.Lines(string(table)) {
			cells := strings.Fields(line)
			switch {
			case len(cells) == 0 || cells[0] == "#":
			case cells[0] == "call":
				states = cells[1:]
			case len(cells) != len(states)+1:
				t.Errorf("%s: %d cells: %s", name, len(cells), line)
			default:
				for i, state := range states {
					t.Run(name+" "+cells[0]+" on "+state, func(t *testing.T) { at.cell(t, cells[0], state, cells[1+i], force) })
				}
			}
		}
	}
}

// cell makes a task in a state, sends it one call and looks at what came of it.
func (at *target) cell(t *testing.T, call, state, want string, force bool) {
	id := at.inState(t, state)
	req := map[string]any{"task": id, "force": force}
	switch call {
	case "archive":
		req = map[string]any{"tasks": []string{id}}
	case "edit", "update":
		req["comment"] = "changed"
	}
	a := at.call(t, "tasks."+call, req)
	if sub, err := strconv.Atoi(want); err == nil {
		if a.code != 400 || a.sub != sub {
			t.Errorf("got %d/%d %s, want 400/%d", a.code, a.sub, a.msg, sub)
		}
		want = "="
	} else if a.code != 200 {
		t.Fatalf("got %d/%d %s, want %s", a.code, a.sub, a.msg, want)
	}
	got := at.call(t, "tasks.get_by_id", map[string]any{"task": id})
	switch want {
	case "gone":
		if got.code != 400 || got.sub != 101 {
			t.Errorf("after its delete: %d/%d %s", got.code, got.sub, got.msg)
		}
		return
	case "=":
		want = state
	}
	if status := statusOf(got); status != want {
		t.Errorf("task is %s, want %s", status, want)
	}
}

func (at *target) inState(t *testing.T, state string) string {
	t.Helper()
	a := at.call(t, "tasks.create", map[string]any{"name": "conformance of " + state, "type": "testing"})
	data, _ := a.data.(map[string]any)
	id, _ := data["id"].(string)
	t.Cleanup(func() { at.remove(t, madeBy("tasks.create", a)) })
	for _, step := range waysTo[state] {
		if a := at.call(t, "tasks."+step, map[string]any{"task": id}); a.code != 200 {
			t.Fatalf("%s: %d/%d %s", step, a.code, a.sub, a.msg)
		}
	}
	if got := statusOf(at.call(t, "tasks.get_by_id", map[string]any{"task": id})); got != state {
		t.Fatalf("task is %s, want %s", got, state)
	}
	return id
}

func statusOf(a answer) string {
	data, _ := a.data.(map[string]any)
	task, _ := data["task"].(map[string]any)
	status, _ := task["status"].(string)
	return status
}
