package harness

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
)

// Run runs one verb of the program against the node.
func (n *Node) Run(args ...string) (stdout, stderr string, code int) {
	n.T.Helper()
	return n.RunIn("", nil, args...)
}

// RunIn is Run in a folder, with bytes on its standard input.
func (n *Node) RunIn(dir string, stdin []byte, args ...string) (stdout, stderr string, code int) {
	n.T.Helper()
	var out, talk bytes.Buffer
	cmd := exec.Command(n.Program, args...)
	cmd.Dir, cmd.Env = dir, n.environ()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &out, &talk
	err := cmd.Run()
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
