package main

import (
	"context"
	"fmt"

	"agentctl/control"
	"agentctl/spec"
	"agentctl/worker"
)

// operator gives the pool's orders the form of the control API.
type operator struct{ *worker.Pool }

// Execute has a task run now. What it is to run with is held against the same rules as
// the workers of a node.yaml.
func (o operator) Execute(ctx context.Context, r control.ExecuteRequest) error {
	w := r.Worker
	w.Name, w.Queues, w.Count = worker.ExecutionGroup, []string{worker.ExecutionGroup}, nil
	text, err := spec.Encode(&spec.Node{APIVersion: spec.APIVersion, Kind: spec.KindNode, Spec: spec.NodeSpec{Workers: []spec.WorkerSpec{w}}})
	if err != nil {
		return fmt.Errorf("cannot write down the worker of the task: %w", err)
	}
	if _, problems := spec.Decode("execute", text); len(problems.Errors()) > 0 {
		return &control.Error{Code: control.CodeInvalid, Message: "the task can't be run with these settings", Problems: problems}
	}
	if err := o.Pool.Execute(ctx, worker.Execution{Task: r.Task, Worker: r.Worker, RequireQueue: r.RequireQueue, Force: r.Force}); err != nil {
		return &control.Error{Code: control.CodeBadRequest, Message: err.Error()}
	}
	return nil
}
