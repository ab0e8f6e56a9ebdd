package reconcile

import (
	"reflect"
	"slices"
	"strings"

	"agentctl/spec"
)

// comparer tells field by field what becomes different of a worker, by the paths
// that its group has in a node.yaml: "queues", "packageManager.indexUrl". Settings
// that came from the node and may be overridden (its packageManager, the sandbox's
// image) have the path that would do so.
//
// It remembers the last answer: the workers of a group mostly change alike, and a
// comparison costs half a millisecond.
type comparer struct {
	from, to spec.Worker // but for what makes a worker of its group
	known    bool
	equal    bool
	changes  []spec.Change // nil until it was asked for
	of       *spec.Worker  // whose answer it is: one of the desired, which are looked at one by one
}

// same tells whether two workers have the same settings. The first look is cheap and
// true of nearly all workers of nearly all plans.
func (c *comparer) same(from, to *spec.Worker) bool {
	if reflect.DeepEqual(from, to) {
		return true
	}
	if from.Name != to.Name || from.Group != to.Group || from.Index != to.Index || from.ID != to.ID {
		return false
	}
	c.look(from, to)
	return c.equal
}

// look makes the remembered answer one for these two.
func (c *comparer) look(from, to *spec.Worker) {
	if c.of == to {
		return
	}
	a, b := anonymous(from), anonymous(to)
	if c.known && reflect.DeepEqual(&a, &c.from) && reflect.DeepEqual(&b, &c.to) {
		c.of = to
		return
	}
	*c = comparer{from: a, to: b, known: true, equal: a.Equal(b), of: to}
}

func (c *comparer) compare(from, to *spec.Worker) []spec.Change {
	c.look(from, to)
	if c.changes == nil {
		c.changes = spec.Diff(asNode(c.from), asNode(c.to))
		for i := range c.changes {
			c.changes[i].Path = strings.TrimPrefix(c.changes[i].Path, "spec.workers[].")
		}
	}
	changes := slices.Clone(c.changes)
	if from.ID != to.ID { // the node has another name
		changes = append(changes, spec.Change{Path: "id", Old: from.ID, New: to.ID, Class: spec.ClassLive})
	}
	return changes
}

// anonymous is w without what makes it differ from the others of its group.
func anonymous(w *spec.Worker) spec.Worker {
	out := *w
	out.Name, out.Group, out.Index, out.ID = "", "", 0, ""
	return out
}

// asNode is a node with the settings of w as its only group.
func asNode(w spec.Worker) *spec.Node {
	sandbox := w.Sandbox
	sandbox.DefaultImage = "" // is the worker's image
	return &spec.Node{Spec: spec.NodeSpec{Sandbox: sandbox, Workers: []spec.WorkerSpec{{
		Queues: w.Queues, CreateQueues: w.CreateQueues, Tags: w.Tags, Order: w.Order, Mode: w.Mode, Image: w.Image, GPUs: w.GPUs,
		PackageManager: w.PackageManager, Resources: w.Resources,
		MaxRuntime: w.MaxRuntime, StopGrace: w.StopGrace, AbortCallback: w.AbortCallback, Windows: w.Windows, MaxTasks: w.MaxTasks, Drain: w.Drain, OnInfrastructureFailure: w.OnInfrastructureFailure, RunAs: w.RunAs,
		Environment: w.Environment, HostEnvironment: w.HostEnvironment, TaskEnvironment: w.TaskEnvironment,
		PythonOptimize: w.PythonOptimize, LogLevel: w.LogLevel, Standalone: w.Standalone,
	}}}}
}
