package harness

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Where is a worker's setting with which a task of Python that hangs tells where.
const Where = `environment: {PYTHONFAULTHANDLER: "1"}`

// stacks ends the agent and tells where each of its goroutines was.
func (n *Node) stacks() string {
	before := len(n.AgentLog())
	_ = n.agent.Process.Signal(syscall.SIGQUIT)
	select {
	case <-n.ended:
	case <-time.After(10 * time.Second): // close kills it
	}
	return goroutines(n.AgentLog()[before:])
}

// quit is what the runtime of Go says first when it is asked where its goroutines are.
const quit = "SIGQUIT: quit"

// function is the line of one of ours in a goroutine's stack.
var function = regexp.MustCompile(`(?m)^(?:created by )?(agentctl/\S+?|main\.\S+?)(?:\([^()*]*\)| in goroutine \d+)$`)

// goroutines are those of a program that run code of ours, a line each, the innermost
// function first: a whole dump is longer than what is shown of a failed test.
func goroutines(dump string) string {
	var lines []string
	for stack := range strings.SplitSeq(dump, "\n\n") {
		head, frames, _ := strings.Cut(strings.TrimSpace(stack), "\n")
		if !strings.HasPrefix(head, "goroutine ") {
			continue
		}
		var names []string
		for _, m := range function.FindAllStringSubmatch(frames, -1) {
			names = append(names, m[1])
		}
		if names != nil {
			lines = append(lines, head+" "+strings.Join(names, " < "))
		}
	}
	return strings.Join(lines, "\n")
}

// whereTaskIs ends what runs of a task so that its programs of Python tell where they
// are, if they were started with Where, and returns the end of its console.
func (n *Node) whereTaskIs(task string) string {
	for _, pid := range Processes("CLEARML_TASK_ID=" + task) {
		name, _ := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "exe"))
		if strings.HasPrefix(filepath.Base(name), "python") {
			_ = syscall.Kill(pid, syscall.SIGABRT)
		}
	}
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if got, err := n.Client().Task(n.T.Context(), task); err != nil || ended(got.Status) {
			break
		}
	}
	lines, err := n.console(task)
	if err != nil {
		return err.Error()
	}
	return tail(strings.Join(lines, "\n"), 80)
}
