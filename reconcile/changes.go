package reconcile

import (
	"strings"

	"agentctl/spec"
)

// workerChanges tells field by field what becomes different of a worker, by the
// paths that its group has in a node.yaml: "queues", "packageManager.indexUrl".
// Settings that came from the node (its packageManager, the sandbox's image) have
// the path that would override them.
func workerChanges(from, to spec.Worker) []spec.Change {
	changes := spec.Diff(asNode(from, to.Group), asNode(to, to.Group))
	prefix := "spec.workers[" + to.Group + "]."
	for i := range changes {
		changes[i].Path = strings.TrimPrefix(changes[i].Path, prefix)
	}
	if from.ID != to.ID { // the node has another name
		changes = append(changes, spec.Change{Path: "id", Old: from.ID, New: to.ID, Class: spec.ClassLive})
	}
	return changes
}

// asNode is a node with the settings of w as its only group.
func asNode(w spec.Worker, group string) *spec.Node {
	return &spec.Node{Spec: spec.NodeSpec{Workers: []spec.WorkerSpec{{
		Name: group, Queues: w.Queues, Order: w.Order, Mode: w.Mode, Image: w.Image, GPUs: w.GPUs,
		PackageManager: w.PackageManager, Resources: w.Resources,
		MaxRuntime: w.MaxRuntime, StopGrace: w.StopGrace, Drain: w.Drain, RunAs: w.RunAs,
	}}}}
}
