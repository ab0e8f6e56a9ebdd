package main

import (
	"agentctl/spec"
	"agentctl/worker"
)

// launched are the variables by which launchers of several ranks say which is which.
var launched = []string{
	"RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT",
	"SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_NTASKS", "SLURM_NNODES", "SLURM_JOB_ID", "SLURM_JOB_NODELIST",
}

// ranked makes the worker of a task one of several ranks, if a launcher says so: the
// task has its variables, which the agent that runs it does not.
func ranked(w spec.WorkerSpec, lookup func(string) (string, bool)) (spec.WorkerSpec, int) {
	_, rank := lookup("RANK")
	if _, slurm := lookup("SLURM_PROCID"); !rank && !slurm {
		return w, 0
	}
	w.Environment = map[string]string{}
	for _, name := range launched {
		if value, ok := lookup(name); ok {
			w.Environment[name] = value
		}
	}
	return w, worker.RankOf(lookup)
}
