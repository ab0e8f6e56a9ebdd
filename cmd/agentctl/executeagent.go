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

// Execute has a task run now.
func (o operator) Execute(ctx context.Context, r control.ExecuteRequest) error {
	if err := sound(r.Worker); err != nil {
		return err
	}
	err := o.Pool.Execute(ctx, worker.Execution{Task: r.Task, Worker: r.Worker, RequireQueue: r.RequireQueue, Force: r.Force, Rank: r.Rank})
	if err != nil {
		return &control.Error{Code: control.CodeBadRequest, Message: err.Error()}
	}
	return nil
}

// Build makes what a task needs.
func (o operator) Build(ctx context.Context, r control.BuildRequest) (control.BuildReply, error) {
	if err := sound(r.Worker); err != nil {
		return control.BuildReply{}, err
	}
	b, err := o.Pool.Build(ctx, worker.Execution{Task: r.Task, Worker: r.Worker, IgnoreContainer: r.IgnoreContainer})
	if err != nil {
		return control.BuildReply{}, &control.Error{Code: control.CodeBadRequest, Message: err.Error()}
	}
	return control.BuildReply{
		EnvKey: b.EnvKey, EnvPath: b.EnvPath, Reads: b.Reads, Variables: b.Variables, Hit: b.Hit,
		Checkout: b.Checkout, Commit: b.Commit, Literal: b.Literal, Dir: b.Dir, File: b.File, Args: b.Args,
		Image: b.Image, Base: b.IDs.Base, Size: b.IDs.Size, Apt: b.Apt,
	}, nil
}

// sound holds what a task is to run with against the rules of a node.yaml.
func sound(w spec.WorkerSpec) error {
	w.Name, w.Queues, w.Count = worker.ExecutionGroup, []string{worker.ExecutionGroup}, nil
	text, err := spec.Encode(&spec.Node{APIVersion: spec.APIVersion, Kind: spec.KindNode, Spec: spec.NodeSpec{Workers: []spec.WorkerSpec{w}}})
	if err != nil {
		return fmt.Errorf("cannot write down the worker of the task: %w", err)
	}
	if _, problems := spec.Decode("the flags", text); len(problems.Errors()) > 0 {
		return &control.Error{Code: control.CodeInvalid, Message: "the task can't be run with these settings", Problems: problems}
	}
	return nil
}
