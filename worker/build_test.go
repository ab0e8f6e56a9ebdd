package worker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"agentctl/reconcile"
	"agentctl/spec"
)

// An agent that builds has something to do; one that is about to end begins nothing that
// it would leave at once.
func TestNothingBeginsWithAnAgentThatEnds(t *testing.T) {
	p := poolWith(t, t.TempDir())
	p.node = new(spec.Node).Default(spec.Env{Hostname: "n"})
	building := false
	connect := func(context.Context, spec.Server) (Conn, error) {
		building = p.Building()
		return Conn{}, errors.New("no server")
	}
	p.conn = newConnection(connect, p.noteServer)
	if _, err := p.Build(t.Context(), Execution{Task: "t"}); err == nil || !building || p.Building() {
		t.Errorf("building %t, then %t: %v", building, p.Building(), err)
	}
	p.Leave(&reconcile.Order{Reason: "ends"})
	if _, err := p.Build(t.Context(), Execution{Task: "t"}); !errors.Is(err, errLeaving) {
		t.Errorf("a build begins: %v", err)
	}
	if _, err := p.engage(execution{Execution: Execution{Task: "t"}}); !errors.Is(err, errLeaving) || len(p.workers) > 0 {
		t.Errorf("a task begins: %v", err)
	}
}

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
