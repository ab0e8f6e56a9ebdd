package worker

import (
	"os"
	"path/filepath"
	"testing"
)

// What an earlier agent was building goes before anything can be built: what is built now
// stays.
func TestBuildsOfAnEarlierAgent(t *testing.T) {
	state := t.TempDir()
	old, now := filepath.Join(state, buildFolder, "old"), filepath.Join(state, buildFolder, "now")
	if err := os.MkdirAll(old, 0o700); err != nil {
		t.Fatal(err)
	}
	p := poolWith(t, state)
	if exists(old) {
		t.Error("an earlier build is left")
	}
	if err := os.Mkdir(now, 0o700); err != nil {
		t.Fatal(err)
	}
	p.discardAhead(t.Context())
	if !exists(now) {
		t.Error("a build that is under way is swept")
	}
}
