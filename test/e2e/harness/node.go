package harness

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"agentctl/clearml"
	"agentctl/runtime"
)

// Node is one machine as the program sees it: a state folder, a socket, a
// node.yaml, and the agent that runs there, if any.
type Node struct {
	T testing.TB
	// Program is the agentctl that is run.
	Program string
	// Dir holds all below; the users of tasks can reach it.
	Dir    string
	State  string
	Socket string
	// File is the node.yaml that Apply writes.
	File string
	// Env are more variables for what is run, as "NAME=value".
	Env []string
	// User runs the agent, where the test is root; 0: whoever runs the test.
	User int
	// Subordinate is the first of 65536 ids that User has besides his own; 0: none.
	Subordinate int

	client *clearml.Client

	agent *exec.Cmd
	ended chan struct{} // closed when agent has been waited for
	log   string        // what the agents of this node said
}

// New makes a node without an agent. Everything on it ends with the test.
func New(t testing.TB) *Node {
	t.Helper()
	program := Program(t, "")
	dir, err := os.MkdirTemp("", "agentctl-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	// Tasks of a root agent run as another user, who must get through to them.
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	n := &Node{
		T: t, Program: program, Dir: dir,
		State:  filepath.Join(dir, "state"),
		Socket: filepath.Join(dir, "agentctl.sock"),
		File:   filepath.Join(dir, "node.yaml"),
		log:    filepath.Join(dir, "agent.log"),
	}
	if err := os.Mkdir(filepath.Join(dir, "gates"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "gates"), 0o777); err != nil { // whatever the umask
		t.Fatal(err)
	}
	t.Cleanup(n.close)
	return n
}

// StartAgent starts an agent in the foreground and returns when it answers.
func (n *Node) StartAgent(flags ...string) {
	n.T.Helper()
	n.SpawnAgent(flags...)
	Eventually(n.T, Patience, "the agent to answer", func() string {
		select {
		case <-n.ended:
			n.T.Fatalf("the agent ended:\n%s", n.AgentLog())
		default:
		}
		if _, stderr, code := n.Run("get", "node", "-o", "json"); code != 0 {
			return stderr
		}
		return ""
	})
}

// SpawnAgent starts an agent and does not wait for it.
func (n *Node) SpawnAgent(flags ...string) {
	n.T.Helper()
	if n.agent != nil && !n.agentEnded() { // one that died unseen is no obstacle
		n.T.Fatal("an agent runs already")
	}
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		n.T.Fatal(err)
	}
	defer log.Close() // the child has its own
	args := append([]string{"agent", "--state", n.State, "--socket", n.Socket, "--server-listen", "127.0.0.1:0"}, flags...)
	cmd := exec.Command(n.Program, args...)
	cmd.Env = n.environ()
	cmd.Stdout, cmd.Stderr = log, log
	if n.Subordinate != 0 {
		n.subordinate(cmd)
	}
	if n.User != 0 {
		if n.Subordinate == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(n.User), Gid: uint32(n.User)}}
		}
		cmd.Env = append(cmd.Env, "HOME="+n.Dir)
		if err := os.Chown(n.Dir, n.User, n.User); err != nil {
			n.T.Fatal(err)
		}
	}
	if err := cmd.Start(); err != nil {
		n.T.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { // ends with the process, which close kills
		defer close(ended)
		_ = cmd.Wait()
	}()
	n.agent, n.ended = cmd, ended
}

// becoming is a script that becomes a user with the ids of a file, seen by him alone.
const becoming = `set -e
ids=$1 user=$2; shift 2
mount --make-rprivate /
mount --bind "$ids" /etc/subuid
mount --bind "$ids" /etc/subgid
exec setpriv --reuid "$user" --regid "$user" --clear-groups "$@"`

// AsUser has a command run as the agent is.
func (n *Node) AsUser(cmd *exec.Cmd) *exec.Cmd {
	n.T.Helper()
	cmd.Env = append(n.environ(), "HOME="+n.Dir)
	n.subordinate(cmd)
	return cmd
}

// subordinate has a command run as User with ids of his own.
func (n *Node) subordinate(cmd *exec.Cmd) {
	n.T.Helper()
	ids := filepath.Join(n.Dir, "subids")
	if _, err := os.Stat(ids); err != nil { // else an agent that reads it would find half of it
		if err := os.WriteFile(ids, fmt.Appendf(nil, "%d:%d:65536\n", n.User, n.Subordinate), 0o644); err != nil {
			n.T.Fatal(err)
		}
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		n.T.Fatal(err)
	}
	cmd.Args = append([]string{"sh", "-c", becoming, "sh", ids, strconv.Itoa(n.User), cmd.Path}, cmd.Args[1:]...)
	cmd.Path, cmd.SysProcAttr = sh, &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
}

// WaitAgent waits for the agent's end, for example at a crash point.
func (n *Node) WaitAgent() {
	n.T.Helper()
	select {
	case <-n.ended:
	case <-time.After(Patience):
		said := tail(n.AgentLog(), 100)
		n.T.Fatalf("the agent did not end:\n%s\nits goroutines:\n%s", said, n.stacks())
	}
	n.agent = nil
}

// KillAgent ends the agent by SIGKILL. Its tasks and its server go on.
func (n *Node) KillAgent() { n.T.Helper(); n.signal(syscall.SIGKILL) }

// StopAgent ends the agent by SIGTERM. Its tasks and its server go on.
func (n *Node) StopAgent() { n.T.Helper(); n.signal(syscall.SIGTERM) }

// Signal sends the agent a signal and waits for nothing.
func (n *Node) Signal(sig syscall.Signal) {
	n.T.Helper()
	if err := n.agent.Process.Signal(sig); err != nil {
		n.T.Fatal(err)
	}
}

func (n *Node) signal(sig syscall.Signal) {
	n.T.Helper()
	if n.agent == nil {
		n.T.Fatal("no agent runs")
	}
	if err := n.agent.Process.Signal(sig); err != nil {
		n.T.Fatal(err)
	}
	n.WaitAgent()
}

// AgentLog is what the agents of this node said.
func (n *Node) AgentLog() string {
	text, _ := os.ReadFile(n.log)
	return string(text)
}

func (n *Node) environ() []string {
	env := []string{"AGENTCTL_STATE=" + n.State, "AGENTCTL_SOCKET=" + n.Socket, "NO_COLOR=1"}
	return append(append(os.Environ(), env...), n.Env...)
}

// close ends all that the node started and removes its folder.
func (n *Node) close() {
	if n.T.Failed() { // the log comes last: of a long output the end is read
		said, _, _ := strings.Cut(n.AgentLog(), quit)
		if n.agent != nil && !n.agentEnded() {
			n.T.Logf("the agent's goroutines:\n%s", n.stacks())
		}
		n.T.Logf("the agent said:\n%s", tail(said, 100))
	}
	if n.agent != nil {
		_ = n.agent.Process.Signal(syscall.SIGTERM)
		select {
		case <-n.ended:
		case <-time.After(10 * time.Second):
			_ = n.agent.Process.Kill()
			<-n.ended
		}
		n.agent = nil
	}
	if n.client != nil {
		n.client.Close()
	}
	n.killLeftovers()
	_ = runtime.ForgetNetworks(n.State) // of an agent that was killed
	_ = filepath.WalkDir(n.Dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(path, 0o755) // environments are read-only
		}
		return nil
	})
	if err := os.RemoveAll(n.Dir); err != nil {
		n.T.Errorf("cannot remove the node's folder: %v", err)
	}
}

// killLeftovers kills what still runs with the node's folder in its arguments or
// environment: the server, and shims with their tasks if the test failed in between.
func (n *Node) killLeftovers() {
	var left []int
	for deadline := time.Now().Add(Patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if left = n.processes(); len(left) == 0 {
			return
		}
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	n.T.Errorf("processes of the node can't be killed: %v", left)
}

func tail(text string, lines int) string {
	all := strings.SplitAfter(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "")
}

// On lets a subtest answer for what happens on the node while it runs.
func (n *Node) On(t testing.TB) {
	was := n.T
	n.T = t
	t.Cleanup(func() { n.T = was })
}
