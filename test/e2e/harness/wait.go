package harness

import (
	"testing"
	"time"
)

// Patience is how long a test waits for what must come. It is generous because
// machines are slow at times; what does not come at all is what it is for.
const Patience = 2 * time.Minute

// IdlePatience is Patience with what gets the CPU that others leave, as all that is made
// ahead: while other tests run, that may be none for minutes.
const IdlePatience = 4 * Patience

// Eventually calls look until it returns "", which means that what the test waits
// for is there; else look returns what it saw, which is shown when patience ends.
func Eventually(t testing.TB, patience time.Duration, what string, look func() string) {
	t.Helper()
	if saw := waited(patience, look); saw != "" {
		t.Fatalf("waited %s for %s; saw: %s", patience, what, saw)
	}
}

// waited is "", or what look saw last.
func waited(patience time.Duration, look func() string) (saw string) {
	for deadline := time.Now().Add(patience); ; time.Sleep(30 * time.Millisecond) {
		if saw = look(); saw == "" || time.Now().After(deadline) {
			return saw
		}
	}
}
