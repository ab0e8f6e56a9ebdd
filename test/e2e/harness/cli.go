package harness

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// verbPatience is how long one verb may take, which may run a whole task.
const verbPatience = 3 * Patience

// Run runs one verb of the program against the node.
func (n *Node) Run(args ...string) (stdout, stderr string, code int) {
	n.T.Helper()
	return n.RunIn("", nil, args...)
}

// RunIn is Run in a folder, with bytes on its standard input.
func (n *Node) RunIn(dir string, stdin []byte, args ...string) (stdout, stderr string, code int) {
	n.T.Helper()
	var out, talk bytes.Buffer
	ctx, cancel := context.WithTimeout(n.T.Context(), verbPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, n.Program, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGQUIT) } // it tells where it is
	cmd.WaitDelay = 5 * time.Second
	cmd.Dir, cmd.Env = dir, n.environ()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &talk
	err := cmd.Run()
	if ctx.Err() != nil {
		n.T.Fatalf("agentctl %s did not end within %s: %v\n%s\n%s", strings.Join(args, " "), verbPatience, err, tail(out.String(), 20), goroutines(talk.String()))
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		n.T.Fatal(err)
	}
	return out.String(), talk.String(), cmd.ProcessState.ExitCode()
}

// Must is Run for what must work; it returns standard output.
func (n *Node) Must(args ...string) string {
	n.T.Helper()
	stdout, stderr, code := n.Run(args...)
	if code != 0 {
		n.T.Fatalf("agentctl %s: exit code %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// WriteFile writes node.yaml as an editor does that writes in place.
func (n *Node) WriteFile(yaml string) {
	n.T.Helper()
	if err := os.WriteFile(n.File, []byte(yaml), 0o644); err != nil {
		n.T.Fatal(err)
	}
}

// Apply writes node.yaml, applies it and waits until it is in force.
func (n *Node) Apply(yaml string, flags ...string) {
	n.T.Helper()
	n.WriteFile(yaml)
	n.Must(append([]string{"apply", "--yes", n.File}, flags...)...)
}
