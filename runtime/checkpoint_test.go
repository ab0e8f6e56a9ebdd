package runtime

import (
	"os"
	"strings"
	"testing"
	"time"
)

func written(t *testing.T, cfg Config, text string) {
	t.Helper()
	eventually(t, "the task writes "+text, func() bool {
		data, err := os.ReadFile(cfg.Dir + "/console")
		return err == nil && strings.Contains(string(data), text)
	})
}

// saver is a task that saves its state on SIGUSR1, with a child that would die of the
// signal, and does what end says after it.
func saver(end string) string {
	return `sleep 1000 & c=$!
save() { kill -0 $c && echo saved; ` + end + `; }
trap save USR1; echo ready; while :; do sleep 0.02; done`
}

// A task that has a handler for the signal gets it, and only then; one that ends by it
// is stopped without a SIGTERM.
func TestCheckpoint(t *testing.T) {
	eachContainment(t, func(t *testing.T, containment string) {
		cfg := newConfig(t, sh(saver("exit 0"))...)
		cfg.Containment = containment
		task := start(t, cfg)
		written(t, cfg, "ready")
		must(t, task.Checkpoint("SIGUSR1", time.Hour, time.Hour, "requeued"))
		must(t, task.Checkpoint("SIGUSR1", time.Hour, time.Hour, "requeued")) // as a new agent does
		exit := wait(t, task)
		if exit.Reason != Stopped || exit.Message != "requeued" || exit.Code != 0 {
			t.Errorf("ended as %+v", exit)
		}
		if out := readAll(t, cfg.Dir)[StreamStdout]; strings.Count(out, "saved") != 1 {
			t.Errorf("wrote %q", out)
		}
	})
}

// One that does not end after it gets SIGTERM when its time is over.
func TestCheckpointThatDoesNotEnd(t *testing.T) {
	cfg := newConfig(t, sh("trap 'echo bye; exit 3' TERM; "+saver(":"))...)
	task := start(t, cfg)
	written(t, cfg, "ready")
	must(t, task.Checkpoint("SIGUSR1", 50*time.Millisecond, time.Hour, "requeued"))
	if exit := wait(t, task); exit.Reason != Stopped || exit.Code != 3 {
		t.Errorf("ended as %+v", exit)
	}
	if out := readAll(t, cfg.Dir)[StreamStdout]; !strings.Contains(out, "saved\nbye\n") {
		t.Errorf("wrote %q", out)
	}
}

// Stop does not wait for a checkpoint that is under way.
func TestStopGoesBeforeACheckpoint(t *testing.T) {
	cfg := newConfig(t, sh(saver("echo goes on"))...)
	task := start(t, cfg)
	written(t, cfg, "ready")
	must(t, task.Checkpoint("SIGUSR1", time.Hour, time.Hour, "requeued"))
	written(t, cfg, "goes on")
	must(t, task.Kill())
	if exit := wait(t, task); exit.Reason != Stopped || exit.Message != "requeued" {
		t.Errorf("ended as %+v", exit)
	}
}

// A task that handles no such signal is not hurt by it, and not waited for.
func TestCheckpointOfATaskWithoutAHandler(t *testing.T) {
	cfg := newConfig(t, sh("trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.02; done")...)
	task := start(t, cfg)
	written(t, cfg, "ready")
	must(t, task.Checkpoint("SIGUSR1", time.Hour, time.Hour, "requeued"))
	if exit := wait(t, task); exit.Reason != Stopped || exit.Code != 3 {
		t.Errorf("ended as %+v", exit)
	}
}
