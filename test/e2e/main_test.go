// Package e2e_test holds the tests of the whole: the real programs, real pip, real
// git and the real SDK, as an operator and a user would meet them.
package e2e_test

import (
	"os"
	"strings"
	"testing"

	"agentctl/test/e2e/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// node is a node.yaml with the workers given as YAML list entries.
func node(workers ...string) string {
	text := "apiVersion: agentctl/v1\nkind: Node\nmetadata: {name: e2e}\nspec:\n  workers:\n"
	if len(workers) == 0 {
		return strings.Replace(text, "workers:\n", "workers: []\n", 1)
	}
	for _, w := range workers {
		text += "    - " + w + "\n"
	}
	return text
}

const oneWorker = "{name: w, queues: [default], mode: venv, stopGrace: 5s, " + harness.Where + "}"

// started is a node whose agent runs and serves the queue default with one worker.
func started(t *testing.T) *harness.Node {
	t.Helper()
	n := harness.New(t)
	n.StartAgent()
	n.Apply(node(oneWorker))
	return n
}
