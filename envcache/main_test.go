package envcache

import (
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"agentctl/envcache/internal/tree"
)

// TestMain lets this test's program play other processes: an agent that
// acquires an environment, to be killed or to compete.
func TestMain(m *testing.M) {
	if os.Getenv(childVar) != "" {
		playAgent()
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if shared.dir != "" {
			_ = tree.Remove(shared.dir)
		}
		os.Exit(code)
	}))
}

// shared is the folder of tools that all states of this test's program use, so
// that pip is fetched and compiled once.
var shared struct {
	once sync.Once
	dir  string
	err  error
}
