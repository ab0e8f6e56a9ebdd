package harness

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentctl/clearml"
	"agentctl/server"
)

// ServerDir is the state folder of the node's embedded server.
func (n *Node) ServerDir() string { return filepath.Join(n.State, "server") }

// Client speaks to the node's embedded server as its operator. Ask for it at each
// call: a server that was killed may come back elsewhere.
func (n *Node) Client() *clearml.Client {
	n.T.Helper()
	url := n.Endpoints().API
	if n.client != nil && n.client.URL() == url {
		return n.client
	}
	client, err := clearml.New(clearml.Config{URL: url, UserAgent: "agentctl-e2e", Credentials: n.credentials})
	if err != nil {
		n.T.Fatal(err)
	}
	n.client = client
	return client
}

// Endpoints waits for the embedded server to listen and returns where it does.
func (n *Node) Endpoints() (ends server.Endpoints) {
	n.T.Helper()
	Eventually(n.T, Patience, "the server to listen", func() string {
		found, alive, err := server.ReadEndpoint(n.ServerDir())
		switch {
		case err != nil:
			return err.Error()
		case !alive:
			return "a server that is not alive"
		}
		ends = found
		return ""
	})
	return ends
}

func (n *Node) credentials(context.Context) (clearml.Credentials, error) {
	data, err := os.ReadFile(filepath.Join(n.ServerDir(), "credentials.json"))
	if err != nil {
		return clearml.Credentials{}, err
	}
	var keys struct {
		AccessKey string `json:"access_key"`
		SecretKey string `json:"secret_key"`
	}
	err = json.Unmarshal(data, &keys)
	return clearml.Credentials{AccessKey: keys.AccessKey, SecretKey: keys.SecretKey}, err
}

// KillServer ends the embedded server by SIGKILL and waits until it is gone.
func (n *Node) KillServer() {
	n.T.Helper()
	data, err := os.ReadFile(filepath.Join(n.ServerDir(), "endpoint.json"))
	if err != nil {
		n.T.Fatal(err)
	}
	var endpoint struct {
		PID int `json:"pid"`
	}
	if err := json.Unmarshal(data, &endpoint); err != nil || endpoint.PID == 0 {
		n.T.Fatalf("the server's endpoint.json names no process: %s (%v)", data, err)
	}
	if err := syscall.Kill(endpoint.PID, syscall.SIGKILL); err != nil {
		n.T.Fatal(err)
	}
	Eventually(n.T, Patience, "the server to be gone", func() string {
		if err := syscall.Kill(endpoint.PID, 0); errors.Is(err, syscall.ESRCH) || zombie("/proc/"+strconv.Itoa(endpoint.PID)) {
			return ""
		}
		return "it runs"
	})
}

// Script is a task to be: a literal script unless a repository is named.
type Script struct {
	Name string
	// Code is the text of the script.
	Code string
	// Pip are the requirements.
	Pip []string
	// Queue is "default" if empty.
	Queue string
	// Change alters the task before it is created.
	Change func(*clearml.NewTask)
}

// Submit creates a task through the API and enqueues it.
func (n *Node) Submit(s Script) (task string) {
	n.T.Helper()
	task = n.Create(s)
	n.Enqueue(task, s.Queue)
	return task
}

// Create creates a task through the API.
func (n *Node) Create(s Script) (task string) {
	n.T.Helper()
	if s.Name == "" {
		s.Name = strings.ReplaceAll(n.T.Name(), "/", " ")
	}
	todo := clearml.NewTask{Name: s.Name, Type: "training", Script: clearml.Script{
		EntryPoint: "script.py", WorkingDir: ".", Diff: s.Code, Binary: "python3",
		Requirements: clearml.Requirements{Pip: s.Pip},
	}}
	if s.Change != nil {
		s.Change(&todo)
	}
	task, err := n.Client().CreateTask(context.Background(), todo)
	if err != nil {
		n.T.Fatal(err)
	}
	return task
}

// Enqueue puts a task at the end of a queue ("default" if empty).
func (n *Node) Enqueue(task, queue string) {
	n.T.Helper()
	if queue == "" {
		queue = "default"
	}
	ctx, client := context.Background(), n.Client()
	id, err := client.ResolveQueue(ctx, queue, true)
	if err != nil {
		n.T.Fatal(err)
	}
	if err := client.Enqueue(ctx, task, id, "", false); err != nil {
		n.T.Fatal(err)
	}
}

// Task reads a task from the server.
func (n *Node) Task(id string) *clearml.Task {
	n.T.Helper()
	task, err := n.Client().Task(context.Background(), id)
	if err != nil {
		n.T.Fatal(err)
	}
	return task
}

// WaitStatus waits until the task has one of the statuses; an end that is none of
// them fails the test at once, with the task's console.
func (n *Node) WaitStatus(id string, statuses ...string) *clearml.Task {
	n.T.Helper()
	return n.WaitStatusFor(Patience, id, statuses...)
}

// WaitStatusFor is WaitStatus with a patience of its own.
func (n *Node) WaitStatusFor(patience time.Duration, id string, statuses ...string) *clearml.Task {
	n.T.Helper()
	var task *clearml.Task
	saw := waited(patience, func() string {
		n.T.Helper()
		got, err := n.Client().Task(context.Background(), id)
		if err != nil {
			return err.Error() // a server that is just being restarted
		}
		task = got
		for _, status := range statuses {
			if task.Status == status {
				return ""
			}
		}
		if ended(task.Status) {
			n.T.Fatalf("task %s ended %s (%s: %s), want %v\n%s", id, task.Status, task.StatusReason, task.StatusMessage,
				statuses, tail(strings.Join(n.Console(id), "\n"), 60))
		}
		return task.Status
	})
	if saw != "" {
		n.T.Fatalf("waited %s for task %s to be %s; saw: %s\n%s", patience, id, strings.Join(statuses, " or "), saw, n.whereTaskIs(id))
	}
	return task
}

func ended(status string) bool {
	return status == clearml.StatusCompleted || status == clearml.StatusFailed || status == clearml.StatusStopped
}

// Console is the console of a task as the server has it, in order, line by line.
func (n *Node) Console(id string) []string {
	n.T.Helper()
	lines, err := n.console(id)
	if err != nil {
		n.T.Fatal(err)
	}
	return lines
}

func (n *Node) console(id string) ([]string, error) {
	var lines []string
	client := n.Client()
	for after := int64(0); ; {
		events, err := client.LogEventsAfter(context.Background(), id, after, 1000)
		if err != nil {
			return nil, err
		}
		if len(events) == 0 {
			return lines, nil
		}
		for _, e := range events {
			lines = append(lines, strings.Split(strings.TrimSuffix(e.Msg, "\n"), "\n")...)
			after = e.Timestamp
		}
	}
}

// WaitConsole waits until a line of the task's console matches.
func (n *Node) WaitConsole(id string, want *regexp.Regexp) {
	n.T.Helper()
	Eventually(n.T, Patience, "the console to show "+want.String(), func() string {
		lines, err := n.console(id)
		if err != nil {
			return err.Error()
		}
		for _, line := range lines {
			if want.MatchString(line) {
				return ""
			}
		}
		return "the console:\n" + tail(strings.Join(lines, "\n"), 20)
	})
}

// WantConsole fails the test unless the console holds the text.
func (n *Node) WantConsole(t testing.TB, id, want string) {
	t.Helper()
	if text := strings.Join(n.Console(id), "\n"); !strings.Contains(text, want) {
		t.Errorf("%q is not on the console of task %s:\n%s", want, id, tail(text, 60))
	}
}
