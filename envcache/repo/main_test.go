package repo

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain lets this test's program play other agents.
func TestMain(m *testing.M) {
	if os.Getenv(childVar) != "" {
		playAgent()
	}
	goleak.VerifyTestMain(m)
}
