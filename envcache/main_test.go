package envcache

import (
	"os"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"agentctl/internal/tree"
)

// TestMain lets this test's program play other processes: an agent that
// acquires an environment, to be killed or to compete, one without rights, or
// one that runs a program.
func TestMain(m *testing.M) {
	if os.Getenv(childVar) != "" {
		playAgent()
	}
	if os.Getenv(lowlyVar) != "" {
		playLowly()
		return
	}
	if os.Getenv(runVar) != "" {
		playRun()
		return
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		for _, dir := range []string{shared.dir, crasher.dir} {
			if dir != "" {
				_ = tree.Remove(dir)
			}
		}
		os.Exit(code)
	}))
}

// once is a folder that is made when a test first needs it.
type once struct {
	once sync.Once
	dir  string
	err  error
}

// shared holds the tools that all states of this test's program use, so that
// pip is fetched and compiled once; crasher holds the program to be killed.
var shared, crasher once
