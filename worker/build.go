package worker

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"agentctl/clearml"
	"agentctl/runtime"
	"agentctl/spec"
)

// Built is where the parts of a task are on this node: its environment, its code, and
// the image that they are for.
type Built struct {
	// EnvKey is that of the environment in the cache, EnvPath its folder; "" if it has none.
	EnvKey, EnvPath string
	// Reads are further folders that the environment needs.
	Reads []string
	// Variables are those that a task starts with in it.
	Variables []string
	// Checkout is the folder of the code; Literal is the text of File if that is not in it.
	Checkout, Commit, Literal string
	// Dir is the working folder and File the script, both below the code; Args is the
	// whole command.
	Dir, File string
	Args      []string
	// Image is the digest of the image that all is for; "" for the host.
	Image string
	// IDs are the ids of the host that its files belong to.
	IDs runtime.IDRange
	// Apt are the Debian packages that tasks find in the image here, and that are not its own.
	Apt []string
	// Hit tells that the environment was there.
	Hit bool
}

// buildFolder of the state folder holds what a build keeps meanwhile.
const buildFolder = "build"

// Build makes what a task needs, as its own run would, and says where it is. The task
// itself is left alone.
func (p *Pool) Build(ctx context.Context, e Execution) (b Built, err error) {
	if !validID.MatchString(e.Task) {
		return b, fmt.Errorf("%.80q is no id of a task", e.Task)
	}
	node, err := p.beginBuild()
	if err != nil {
		return b, err
	}
	defer p.endBuild()
	conn, err := p.conn.get(ctx, node.Spec.Server)
	if err != nil {
		return b, err
	}
	task, err := conn.Client.Task(ctx, e.Task)
	if err != nil {
		return b, seizeError(e.Task, err)
	}
	dirs := folders{filepath.Join(p.cfg.State, buildFolder, rand.Text()[:12])}
	if err := os.MkdirAll(dirs.root, 0o711); err != nil {
		return b, fmt.Errorf("cannot create the folder of a build: %w", err)
	}
	defer func() {
		err = errors.Join(err, dirs.discardBoxes(context.WithoutCancel(ctx), p.cfg.Launcher), runtime.RemoveAll(dirs.root))
	}()
	m, err := p.makeFor(ctx, e.over(task), executor(node, e), node.Spec, dirs)
	if err != nil {
		return b, fmt.Errorf("cannot build for the task %s: %w", task.ID, err)
	}
	b, err = m.built(e.Worker.PythonOptimize)
	return b, errors.Join(err, m.close())
}

// over is the task as it is built: what is asked for goes before what it says itself.
func (e Execution) over(task *clearml.Task) *clearml.Task {
	built := *task
	if python := e.Worker.PackageManager.Python.Default; python != "" {
		built.Hyperparams = Chosen(task.Hyperparams, ChoicePython, python)
	}
	if e.IgnoreContainer {
		built.Container, built.Execution.DockerCmd = clearml.Container{}, ""
	}
	return &built
}

// beginBuild gives the spec that a build goes by. Until endBuild the agent has something
// to do.
func (p *Pool) beginBuild() (*spec.Node, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.node == nil:
		return nil, errors.New("cannot build for a task: no spec is in force on this node")
	case p.leaving != nil:
		return nil, errLeaving
	}
	p.builds++
	return p.node, nil
}

func (p *Pool) endBuild() {
	p.mu.Lock()
	p.builds--
	p.mu.Unlock()
}

// Building tells that a Build is under way: an agent that has no task is not idle then.
func (p *Pool) Building() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.builds > 0
}

// sweepBuilds ends what an earlier agent was building.
func (p *Pool) sweepBuilds(ctx context.Context) {
	left, _ := filepath.Glob(filepath.Join(p.cfg.State, buildFolder, "*")) // the pattern is well-formed
	for _, dir := range left {
		if err := errors.Join(folders{dir}.discardBoxes(ctx, p.cfg.Launcher), runtime.RemoveAll(dir)); err != nil {
			p.cfg.Log.Warn("what an earlier agent was building is not removed", "error", err)
		}
	}
}

func (m *made) built(optimize int) (b Built, err error) {
	c := &m.cmd
	var view *os.Root
	if m.checkout != nil {
		b.Checkout, b.Commit = m.checkout.Path, m.checkout.Commit
		if view, err = os.OpenRoot(b.Checkout); err != nil {
			return b, fmt.Errorf("cannot read the checkout: %w", err)
		}
		defer func() { _ = view.Close() }()
	}
	if b.Literal, _, err = c.ready(view); err != nil {
		return b, err
	}
	b.Dir, b.File = c.Dir, c.script()
	program := cmp.Or(m.packages.pm.UseInterpreter, "python")
	if m.env != nil {
		b.EnvKey, b.EnvPath, b.Reads, b.Variables, b.Hit = m.env.Key, m.env.Path, m.env.Reads, m.env.Variables, m.env.Hit
		program = m.env.Python
	}
	if c.Shell != "" {
		program = "/bin/" + c.Shell
	}
	b.Args = c.argv(program, optimize)
	if m.box != nil {
		b.Image, b.IDs = m.box.image.Digest, m.box.ids
		if m.box.image.has(aptProgram) {
			b.Apt = m.box.Apt
		}
	}
	return b, nil
}
