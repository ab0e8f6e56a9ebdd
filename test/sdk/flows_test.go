package sdk

import (
	"context"
	"strings"
	"testing"
	"time"

	"agentctl/clearml"
	"agentctl/test/e2e/harness"
)

// Task.init … close by hand, and everything read back.
func TestByHand(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.run(s.env(), "by_hand.py")
	s.noRefusalsBut()
}

// The same with the SDK's background process. It uses the connections that it inherits,
// so that either of the two may read the other's answer: there are none to inherit.
func TestDefaultSettings(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.front.Config.SetKeepAlivesEnabled(false)
	s.configure(harness.SDKDetectFirst)
	s.run(s.env(), "defaults.py")
	s.noRefusalsBut()
}

// Task.create and enqueue, clone with a changed hyperparameter, dequeue, abort,
// reset, archive, delete, lists and filters.
func TestManage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.run(s.env(), "manage.py")
	s.noRefusalsBut("queues.get_by_id 400")
}

// A task that an agent runs: it reads its parameters from the server, reports,
// stores an artifact and a model, creates a child; the agent sets its end.
func TestUnderAnAgent(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ctx := t.Context()
	id := word(t, s.run(s.env(), "make.py"), "task")
	queue, err := s.client.ResolveQueue(ctx, "default", false)
	must(t, err)
	popped, err := s.client.NextTask(ctx, queue, id)
	must(t, err)
	if popped != id {
		t.Fatal("the task is not at the head of its queue")
	}
	must(t, s.client.Started(ctx, id, "pulled", "pulled by test", false))
	task, err := s.client.Task(ctx, id)
	must(t, err)
	if p := task.Hyperparams["General"]["name"]; p.Value != "changed" || task.Script.EntryPoint == "" || len(task.Script.Requirements.Pip) == 0 {
		t.Errorf("the agent's view of the task: %+v", task)
	}
	must(t, s.client.SetRequirements(ctx, id, task.Script.Requirements.Installed([]string{"clearml==" + harness.SDKVersion}, nil, `{"manager":"pip"}`)))
	s.run(s.asTask(id), "remote.py")
	must(t, s.client.AddEvents(ctx, []clearml.LogEvent{{Task: id, Worker: "node:worker", Msg: "one\ntwo", Timestamp: time.Now().UnixMilli()}}))
	must(t, s.client.Completed(ctx, id, "worker execution done", ""))
	s.run(s.env(), "read_back.py", id)
	s.noRefusalsBut("queues.get_by_id 400")
}

// An abort by the SDK reaches a waiting agent at once.
func TestAbort(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ctx, cancel := context.WithTimeout(t.Context(), programTime)
	defer cancel()
	id, err := s.client.CreateTask(ctx, clearml.NewTask{Name: "running", Type: "training"})
	must(t, err)
	must(t, s.client.Started(ctx, id, "", "", false))
	must(t, s.client.ReportStatus(ctx, clearml.StatusReport{Worker: "node:worker", Timestamp: 1, Task: id}))
	_, revision, err := s.client.TaskStates(ctx, []string{id}, 0, 0)
	must(t, err)
	seen := make(chan clearml.TaskState, 1)
	go func() {
		defer close(seen)
		for { // a slow program takes longer than a look
			states, next, err := s.client.TaskStates(ctx, []string{id}, revision, time.Minute)
			if err != nil {
				return
			}
			if revision = next; len(states) == 1 && states[0].StopRequested() {
				seen <- states[0]
				return
			}
		}
	}()
	s.run(s.env(), "abort.py", id)
	if state := <-seen; !state.StopRequested() {
		t.Errorf("the agent saw %+v", state)
	}
	s.noRefusalsBut()
}

// Programs of checks, each for one part of the SDK's surface.
func TestSurface(t *testing.T) {
	t.Parallel()
	for program, allowed := range map[string][]string{
		"plots.py": nil, "edits.py": {"queues.get_by_id 400"}, "artifacts.py": nil, "repositories.py": nil, "dataset.py": nil, "models.py": nil,
	} {
		t.Run(strings.TrimSuffix(program, ".py"), func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.run(s.env(), program)
			s.noRefusalsBut(allowed...)
		})
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	dir := t.TempDir()
	out := s.command(dir, s.env(), strings.TrimSuffix(s.python, "python")+"clearml-task",
		"--project", "command line", "--name", "from the shell", "--script", write(t, dir+"/script.py", "print(1)\n"), "--packages", "clearml", "--args", "lr=0.5", "--queue", "default")
	if !strings.Contains(out, "enqueued for execution") && !strings.Contains(out, "Task id=") {
		t.Errorf("clearml-task said: %s", out)
	}
	queues, err := s.client.ListQueues(t.Context())
	must(t, err)
	if len(queues) != 1 || len(queues[0].Tasks()) != 1 {
		t.Errorf("queues %+v", queues)
	}
	s.noRefusalsBut("queues.get_by_id 400")
}
