package harness

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Gate is the path of a file that tasks can see and make: the test and a task
// wait for each other by it.
func (n *Node) Gate(name string) string { return filepath.Join(n.Dir, "gates", name) }

// Open makes a gate's file.
func (n *Node) Open(name string) {
	n.T.Helper()
	if err := os.WriteFile(n.Gate(name), nil, 0o644); err != nil {
		n.T.Fatal(err)
	}
}

// WaitGate waits until a task has made a gate's file.
func (n *Node) WaitGate(name string) { n.T.Helper(); n.WaitGateFor(Patience, name) }

// WaitGateFor is WaitGate with a patience of its own.
func (n *Node) WaitGateFor(patience time.Duration, name string) {
	n.T.Helper()
	Eventually(n.T, patience, "a task to open the gate "+name, func() string {
		if _, err := os.Stat(n.Gate(name)); err != nil {
			return err.Error()
		}
		return ""
	})
}

// Code puts the node's gates into a script: `gate("x")` is the path of gate x,
// `open_gate("x")` makes it, `wait_gate("x")` waits for it.
func (n *Node) Code(script string) string {
	return strings.ReplaceAll(gates, "GATES", filepath.Join(n.Dir, "gates")) + script
}

const gates = `import os, time
def gate(name): return os.path.join("GATES", name)
def open_gate(name): open(gate(name), "a").close()
def wait_gate(name):
    while not os.path.exists(gate(name)): time.sleep(0.02)
`

// Close removes a gate's file.
func (n *Node) Close(name string) {
	n.T.Helper()
	if err := os.RemoveAll(n.Gate(name)); err != nil {
		n.T.Fatal(err)
	}
}
