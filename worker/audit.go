package worker

import (
	"fmt"
	"slices"
	"strings"

	"agentctl/clearml"
	"agentctl/reconcile"
	"agentctl/spec"

	"github.com/dustin/go-humanize"
	"github.com/samber/lo"
)

// Reach is one thing that a task of a worker can reach, or can't.
type Reach struct {
	// What it is about: "user", "network", ….
	What string
	Text string
	// Risk says that a task can do more by it than run in a box of its own.
	Risk bool
	// Key is what changes it in node.yaml, "" if nothing does.
	Key string
}

// Audit tells what a task of a worker can reach, from the settings that its sandbox or
// its process is made of and from what this host can do.
func (p *Pool) Audit(w spec.Worker) ([]Reach, error) {
	if w.Mode != spec.ModeSandbox {
		return p.auditVenv(w)
	}
	return p.auditSandbox(w)
}

// AuditTask is Audit with the settings that a running task was leased with, and what it
// asks for itself.
func (p *Pool) AuditTask(id string) ([]Reach, error) {
	r := p.find(id)
	if r == nil {
		return nil, fmt.Errorf("cannot tell what the task %s reaches: it does not run on this node", id)
	}
	r.mu.Lock()
	w, task, rule := r.rec.Worker, r.task, rulingOf(r.rec.Worker, r.rec.Rule)
	r.mu.Unlock()
	if w.Mode != spec.ModeSandbox || task == nil {
		return p.Audit(w)
	}
	return p.auditContainer(w, task, rule)
}

func (p *Pool) auditSandbox(w spec.Worker) ([]Reach, error) {
	list, err := p.auditContainer(w, &clearml.Task{}, nil)
	return slices.Concat(list, auditRules(w), auditAllow(w)), err
}

// auditContainer is of what t runs in on w, which is decided as for a run.
func (p *Pool) auditContainer(w spec.Worker, t *clearml.Task, rule *ruling) ([]Reach, error) {
	return p.auditOn(p.abilities(), w, t, rule)
}

func (p *Pool) auditOn(lacks abilities, w spec.Worker, t *clearml.Task, rule *ruling) ([]Reach, error) {
	ids, err := IDRange(p.cfg.State, w.Sandbox.IDs)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	var git spec.Git
	if p.node != nil {
		git = p.node.Spec.Git
	}
	p.mu.Unlock()
	own := p.hidden()
	c, err := containerOf(t, w, rule, places{never: append(own, p.secretFiles(git, w)...), reserved: own})
	if err != nil {
		return nil, err
	}
	a := auditor{host: p.cfg.Host, lacks: lacks, w: w, c: c, ids: ids}
	a.identity()
	a.files()
	a.network()
	a.preparation()
	a.limits()
	return append(a.list, p.auditServer()...), nil
}

// auditServer is what the task's token can do on the server.
func (p *Pool) auditServer() []Reach {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.node == nil || p.node.Spec.Server.URL == "" {
		return []Reach{{What: "server", Text: "its own task, by a token for this task alone, of the embedded server"}}
	}
	return []Reach{{What: "server", Key: "server.credentialsFile", Risk: true, Text: "all that the user of spec.server.credentialsFile may, by a token with an end: a ClearML Server has none for a task alone"}}
}

// Audited are the workers of a snapshot that differ in what their tasks reach: the first
// of each group.
func Audited(s *reconcile.Snapshot) []spec.Worker {
	return lo.UniqBy(lo.Map(s.Workers, func(w reconcile.WorkerStatus, _ int) spec.Worker { return w.Spec }), func(w spec.Worker) string { return w.Group })
}

func size(n int64) string {
	return strings.ReplaceAll(humanize.IBytes(uint64(max(n, 0))), " ", "")
}

func joinedInts(list []int) string {
	return strings.Join(lo.Map(list, func(n, _ int) string { return fmt.Sprint(n) }), ", ")
}
