package harness

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"syscall"

	"agentctl/reconcile"
)

// Snapshot is the node's state, as `agentctl get node -o json` prints it.
func (n *Node) Snapshot() *reconcile.Snapshot {
	n.T.Helper()
	var s reconcile.Snapshot
	if out := n.Must("get", "node", "-o", "json"); json.Unmarshal([]byte(out), &s) != nil {
		n.T.Fatalf("get node -o json prints no snapshot:\n%s", out)
	}
	return &s
}

// Workers are the node's workers, by name.
func (n *Node) Workers() []reconcile.WorkerStatus {
	n.T.Helper()
	return n.Snapshot().Workers
}

// WaitWorkers waits until the node has just the named workers.
func (n *Node) WaitWorkers(names ...string) {
	n.T.Helper()
	Eventually(n.T, Patience, "the workers "+strings.Join(names, " "), func() string {
		var got []string
		for _, w := range n.Workers() {
			got = append(got, w.Name)
		}
		if slices.Equal(got, names) {
			return ""
		}
		return "the workers " + strings.Join(got, " ")
	})
}

// WaitCondition waits until a condition of the node has the status.
func (n *Node) WaitCondition(kind, status string) (found reconcile.Condition) {
	n.T.Helper()
	Eventually(n.T, Patience, kind+" to be "+status, func() string {
		condition, ok := n.Snapshot().Condition(kind)
		if !ok {
			return "no such condition"
		}
		if found = condition; condition.Status != status {
			return condition.Status + ": " + condition.Reason + ": " + condition.Message
		}
		return ""
	})
	return found
}

// WaitServer waits until the node can reach its server, or can't, with the word in
// what it says of it, which is returned.
func (n *Node) WaitServer(reachable bool, word string) (said string) {
	n.T.Helper()
	what := "the server to be out of reach: " + word
	if reachable {
		what = "the server to be within reach"
	}
	Eventually(n.T, Patience, what, func() string {
		server := n.Snapshot().Server
		if said = server.Error; server.Reachable == reachable && strings.Contains(strings.ToLower(said), strings.ToLower(word)) {
			return ""
		}
		state, _ := json.Marshal(server)
		return string(state)
	})
	return said
}

// TaskStatus is what the node knows of a task that it runs or ran.
func (n *Node) TaskStatus(id string) (found reconcile.TaskStatus) {
	n.T.Helper()
	// The server may know of the end before the snapshot does.
	Eventually(n.T, Patience, "the node to know of the end of task "+id, func() string {
		tasks := n.Snapshot().Tasks
		i := slices.IndexFunc(tasks, func(t reconcile.TaskStatus) bool { return t.ID == id })
		if i < 0 {
			return "no such task"
		}
		if found = tasks[i]; found.Ended.IsZero() {
			return "it is " + found.Phase
		}
		return ""
	})
	return found
}

// ApplyPinned applies a node.yaml that is not watched.
func (n *Node) ApplyPinned(yaml string) {
	n.T.Helper()
	if stdout, stderr, code := n.RunIn("", []byte(yaml), "apply", "--yes", "-"); code != 0 {
		n.T.Fatalf("agentctl apply -: exit code %d\n%s%s", code, stdout, stderr)
	}
}

// AgentPID is the process of the agent that runs.
func (n *Node) AgentPID() int {
	n.T.Helper()
	if n.agent == nil {
		n.T.Fatal("no agent runs")
	}
	return n.agent.Process.Pid
}

// AgentRuns tells whether an agent runs.
func (n *Node) AgentRuns() bool {
	return n.agent != nil && syscall.Kill(n.agent.Process.Pid, 0) == nil && !n.agentEnded()
}

func (n *Node) agentEnded() bool {
	select {
	case <-n.ended:
		return true
	default:
		return false
	}
}

// WaitAgentOr waits until the agent has ended by itself or done is true.
func (n *Node) WaitAgentOr(done func() bool) {
	n.T.Helper()
	Eventually(n.T, Patience, "the agent's death or the task's end", func() string {
		if n.agentEnded() {
			n.agent = nil
			return ""
		}
		if done() {
			return ""
		}
		return "neither"
	})
}

// CopyCredentials writes the operator's keys of another node's server to a file.
func (n *Node) CopyCredentials(of *Node, path string) {
	n.T.Helper()
	keys, err := of.credentials(n.T.Context())
	if err != nil {
		n.T.Fatal(err)
	}
	data, err := json.Marshal(map[string]string{"access_key": keys.AccessKey, "secret_key": keys.SecretKey})
	if err != nil {
		n.T.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		n.T.Fatal(err)
	}
}
