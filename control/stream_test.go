package control

import (
	"errors"
	"strings"
	"testing"
)

// follow reads a console and calls at with each frame's text.
func follow(t *testing.T, c *Client, r LogsRequest, at func(string)) (string, error) {
	t.Helper()
	var all strings.Builder
	err := c.Logs(t.Context(), r, func(f Frame) error {
		all.Write(f.Data)
		if at != nil {
			at(string(f.Data))
		}
		return nil
	})
	return all.String(), err
}

func TestLogsOfARunningTaskEndWithWhatIsThere(t *testing.T) {
	n := newNode(worker("a/0", "a", "t1"))
	s := newScript()
	n.consoles["t1"] = s
	s.say("one ")
	s.say("two")
	c, _ := serve(t, n)
	if got, err := follow(t, c, LogsRequest{Task: "t"}, nil); err != nil || got != "one two" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := follow(t, c, LogsRequest{Task: "t1", From: 1}, nil); err != nil || got != "two" {
		t.Errorf("from the second frame: %q, %v", got, err)
	}
}

// What the agent says after the process has ended belongs to the console too.
func TestLogsFollowUntilTheTaskHasLeftItsWorker(t *testing.T) {
	n := newNode(worker("a/0", "a", "t1"))
	s := newScript()
	n.consoles["t1"] = s
	s.say("begin ")
	c, _ := serve(t, n)
	left := snapshot(worker("a/0", "a", ""))
	left.Tasks = n.snap.Tasks
	got, err := follow(t, c, LogsRequest{Task: "t1", Follow: true}, func(text string) {
		switch text {
		case "begin ":
			s.say("middle ")
			s.end()
		case "middle ":
			s.say("closing line")
			n.set(left)
		}
	})
	if err != nil || got != "begin middle closing line" {
		t.Errorf("%q, %v", got, err)
	}
}

// A task that fails before its process starts has no end of a process.
func TestLogsFollowATaskThatNeverStarts(t *testing.T) {
	n := newNode(worker("a/0", "a", "t1"))
	s := newScript()
	n.consoles["t1"] = s
	s.say("cannot clone")
	c, _ := serve(t, n)
	left := snapshot(worker("a/0", "a", ""))
	left.Tasks = n.snap.Tasks
	got, err := follow(t, c, LogsRequest{Task: "t1", Follow: true}, func(string) { n.set(left) })
	if err != nil || got != "cannot clone" {
		t.Errorf("%q, %v", got, err)
	}
}

// The end of the agent is not the end of the task, in whatever order its parts end.
func TestLogsThatAreCutAreNotTakenForTheEnd(t *testing.T) {
	for range 20 {
		n := newNode(worker("a/0", "a", "t1"))
		s := newScript()
		n.consoles["t1"] = s
		s.say("x")
		c, stop := serve(t, n)
		_, err := follow(t, c, LogsRequest{Task: "t1", Follow: true}, func(string) { go stop() })
		stop()
		if !errors.Is(err, ErrCut) {
			t.Fatalf("got %v, want ErrCut", err)
		}
	}
}

func TestLogsOfNoTask(t *testing.T) {
	c, _ := serve(t, newNode(worker("a/0", "a", "t1")))
	_, err := follow(t, c, LogsRequest{Task: "x"}, nil)
	wantCode(t, err, CodeNotFound)
	_, err = follow(t, c, LogsRequest{Task: "t1"}, nil) // without a console
	wantCode(t, err, CodeInternal)
	_, err = follow(t, c, LogsRequest{Task: "t1", From: -1}, nil)
	wantCode(t, err, CodeBadRequest)
}
