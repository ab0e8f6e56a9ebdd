package main

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"

	"agentctl/envcache"
	"agentctl/runtime/gpu"

	"github.com/samber/lo"
)

// host is what init and doctor find out about the machine without any right.
type host struct {
	Name    string
	Root    bool
	CPUs    int
	Memory  int64                  // bytes; 0 if unknown
	GPUs    []string               // names of those that tasks can have
	Cards   []string               // names of those that the kernel's driver has
	GPU     gpu.State              // what NVML tells
	Pythons []envcache.Interpreter // the host's own first
	Git     string                 // its version, "" if there is none
}

func lookAtHost(ctx context.Context) (host, error) {
	h := host{Root: os.Geteuid() == 0, CPUs: goruntime.NumCPU(), Memory: memory("/proc/meminfo"), Cards: cards("/proc/driver/nvidia/gpus")}
	h.GPU = gpu.Look(ctx, gpu.Options{Log: silent()})
	for _, g := range h.GPU.GPUs {
		if g.Problem == "" {
			h.GPUs = append(h.GPUs, g.Name)
		}
	}
	var err error
	if h.Name, err = os.Hostname(); err != nil {
		return h, err
	}
	if h.Pythons, err = pythons(ctx); err != nil {
		return h, err
	}
	if out, err := exec.CommandContext(ctx, "git", "--version").Output(); err == nil {
		h.Git = strings.TrimPrefix(strings.TrimSpace(string(out)), "git version ")
	}
	return h, nil
}

// pythonVersions are those that a task may ask for.
var pythonVersions = []string{"", "3.15", "3.14", "3.13", "3.12", "3.11", "3.10", "3.9"}

// pythons finds the interpreters that tasks would get.
func pythons(ctx context.Context) ([]envcache.Interpreter, error) {
	scratch, err := os.MkdirTemp("", "agentctl-pythons-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	finder, err := envcache.NewFinder(scratch, envcache.Options{Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	var found []envcache.Interpreter
	for _, version := range pythonVersions {
		p, _, err := finder.Find(ctx, version, envcache.OnMissingFail, envcache.SameUser, envcache.SameUser)
		if err == nil {
			found = append(found, p)
		}
	}
	return lo.UniqBy(found, func(p envcache.Interpreter) string { return p.Version }), ctx.Err()
}

// memory reads the size of the main memory from /proc/meminfo (proc(5)).
func memory(path string) int64 {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for l := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(l, "MemTotal:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
			if err != nil {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}

// hasGPUs tells whether the machine has GPUs that tasks can have.
func hasGPUs(ctx context.Context) bool {
	return lo.SomeBy(gpu.Look(ctx, gpu.Options{Log: silent()}).GPUs, func(g gpu.GPU) bool { return g.Problem == "" })
}

// cards lists the models of NVIDIA's GPUs as the kernel's driver does.
func cards(folder string) []string {
	var models []string
	files, _ := filepath.Glob(filepath.Join(folder, "*", "information")) // the pattern is right
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for l := range strings.Lines(string(data)) {
			if model, ok := strings.CutPrefix(l, "Model:"); ok {
				models = append(models, strings.TrimSpace(model))
			}
		}
	}
	return models
}
