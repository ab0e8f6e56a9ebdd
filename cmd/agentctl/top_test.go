package main

import (
	"testing"
	"time"

	"agentctl/control"
)

// What top shows is what was used between two looks; a task that is new, or whose
// processes of before have ended, has used nothing yet.
func TestTop(t *testing.T) {
	began := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	look := func(after, busy, ended time.Duration) []control.Usage {
		return []control.Usage{
			{
				Task: "aa", Name: "train \x1b[2J", Worker: "a/0", Since: began, Time: began.Add(after), CPU: busy,
				Memory: 3 << 30, Peak: 4 << 30, Limit: 8 << 30, PIDs: 12, Exact: true, Written: 5 << 20,
			},
			{Task: "bb", Worker: "b/0", Since: began, Time: began.Add(after), CPU: ended, Memory: 1 << 20, PIDs: 1},
		}
	}
	var shown top
	shown.compare(look(time.Minute, 10*time.Second, time.Second)[:1])
	rows := shown.compare(look(time.Minute+2*time.Second, 13*time.Second, time.Second))
	golden(t, "top.txt", string(shown.render(rows)))
	rows = shown.compare(look(time.Minute+4*time.Second, 13*time.Second, time.Second/2))
	if rows[0].CPUPercent != 0 || rows[1].CPUPercent != 0 {
		t.Errorf("%+v", rows)
	}
	if rows := shown.compare(nil); rows == nil || len(shown.before) != 0 {
		t.Errorf("%+v, %+v", rows, shown.before)
	}
}
