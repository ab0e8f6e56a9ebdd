package worker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"agentctl/clearml"
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

// What a build is asked for goes before what the task says: its Python and, if that is
// wanted, its container.
func TestABuildAsAskedFor(t *testing.T) {
	task := &clearml.Task{
		Script:    clearml.Script{EntryPoint: "x.py", Binary: "python3.9"},
		Container: clearml.Container{Image: "own:1"},
	}
	task.Execution.DockerCmd = "older:1"
	cmd, err := parseScript(task.Script)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		e             Execution
		python, image string
	}{
		{Execution{}, "3.9", "own:1"},
		{Execution{Worker: spec.WorkerSpec{PackageManager: spec.PackageManager{Python: spec.Python{Default: "3.12"}}}}, "3.12", "own:1"},
		{Execution{IgnoreContainer: true}, "3.9", ""},
	} {
		built := c.e.over(task)
		p, err := packagesOf(built, cmd, c.e.Worker.PackageManager)
		image, _, _ := asked(built)
		if err != nil || p.python != c.python || image != c.image {
			t.Errorf("%+v: python %s, image %s, %v", c.e, p.python, image, err)
		}
	}
	if task.Hyperparams != nil || task.Container.Image == "" {
		t.Errorf("the task was changed: %+v", task)
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

// Where a worker's interpreter takes the place of an environment, what is built runs with
// it as well.
func TestABuildWithAGivenInterpreter(t *testing.T) {
	m := made{prepared: prepared{needs: needs{cmd: command{File: "x.py", Dir: "."}}}}
	for given, want := range map[string]string{"": "python", "/opt/venv/bin/python": "/opt/venv/bin/python"} {
		m.packages.pm.UseInterpreter = given
		if b, err := m.built(0); err != nil || b.Args[0] != want {
			t.Errorf("%q: %q, %v", given, b.Args, err)
		}
	}
}

// What is put on top of the image here is no part of it, and is told.
func TestABuildTellsOfDebianPackages(t *testing.T) {
	layer := t.TempDir()
	m := made{prepared: prepared{needs: needs{cmd: command{File: "x.py", Dir: "."}}}}
	m.box = &sandboxed{container: container{Apt: []string{"libgl1"}}, image: &Image{Layers: []string{layer}}}
	if b, err := m.built(0); err != nil || b.Apt != nil {
		t.Errorf("an image without apt: %q, %v", b.Apt, err)
	}
	apt := filepath.Join(layer, aptProgram)
	if err := errors.Join(os.MkdirAll(filepath.Dir(apt), 0o755), os.WriteFile(apt, nil, 0o755)); err != nil {
		t.Fatal(err)
	}
	if b, err := m.built(0); err != nil || len(b.Apt) != 1 {
		t.Errorf("an image with apt: %q, %v", b.Apt, err)
	}
}
