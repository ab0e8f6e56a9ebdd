package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"agentctl/migrate"
	"agentctl/runtime/dockerargs"
	"agentctl/spec"

	"github.com/samber/lo"
)

// wantedWorkers are what a command line makes, and what an agent needs that is started
// for them.
type wantedWorkers struct {
	id      string
	slot    bool // the id gets the first number that is free
	groups  []spec.WorkerSpec
	base    *spec.Node // without workers
	secrets []migrate.Secret
	git     string // file with the logins that the flags gave; "": none
}

// split parts a text as a shell does.
func split(text string) ([]string, error) {
	words, refusal := dockerargs.Split(text)
	if refusal != nil {
		return nil, usagef("--docker: %s", refusal)
	}
	return words, nil
}

// secretFile is where a secret is kept that came by flags, variables or clearml.conf.
func (d *daemonRun) secretFile(name string) string { return filepath.Join(d.state, "daemon", name) }

// wanted makes the workers of the flags, over what clearml.conf and variables say.
func (d *daemonRun) wanted(ctx context.Context) (*wantedWorkers, error) {
	conf, err := d.configuration(ctx)
	if err != nil {
		return nil, err
	}
	opts := migrate.Options{Path: d.secretFile, Queues: d.queues, Sandbox: d.sandbox, GPUs: hasGPUs(ctx)}
	if d.dynamic {
		opts.Queues = nil
	}
	all, err := migrate.Node(conf, d.variables(), opts)
	if err != nil {
		return nil, fmt.Errorf("cannot make a worker of these flags: %w", err)
	}
	d.tell(all.Notes, false)
	opts.Sandbox = true
	own, err := migrate.Node(d.ownConfiguration(), nil, opts)
	if err != nil {
		return nil, fmt.Errorf("cannot make a worker of these flags: %w", err)
	}
	d.tell(own.Notes, true)
	w := &wantedWorkers{base: all.Node, secrets: append(all.Secrets, own.Secrets...)}
	g := d.group(all.Node.Spec.Workers[0], own.Node)
	w.base.Spec.Workers = []spec.WorkerSpec{}
	if d.poll > 0 {
		w.base.Spec.Server.PollInterval = spec.Duration(d.poll)
		d.say("--polling-interval is a setting of the node (spec.server.pollInterval): it counts for an agent that is started by this; the embedded server tells of tasks at once")
	}
	if d.gitPass != "" {
		w.git = w.base.Spec.Git.CredentialsFile
	}
	return w, d.place(w, g)
}

// ownConfiguration is what the flags would say in a clearml.conf, of the worker alone.
func (d *daemonRun) ownConfiguration() map[string]any {
	agent := map[string]any{}
	if len(d.arguments) > 0 {
		agent["default_docker"] = map[string]any{"arguments": lo.ToAnySlice(d.arguments)}
	}
	if len(d.uptime) > 0 {
		agent["uptime"] = lo.ToAnySlice(d.uptime)
	}
	if len(d.downtime) > 0 {
		agent["downtime"] = lo.ToAnySlice(d.downtime)
	}
	return map[string]any{"agent": agent}
}

// variables are those of the environment, without those in whose place a flag stands.
func (d *daemonRun) variables() []string {
	hidden := map[string]bool{"DOCKER_IMAGE": d.image != "", "AGENT_GIT_USER": d.gitPass != "", "AGENT_GIT_PASS": d.gitPass != ""}
	return lo.Reject(os.Environ(), func(kv string, _ int) bool {
		name, _, _ := strings.Cut(kv, "=")
		_, rest, ok := strings.Cut(name, "_")
		return ok && (strings.HasPrefix(name, "CLEARML_") || strings.HasPrefix(name, "TRAINS_")) && hidden[rest]
	})
}

// tell says what was not carried over: of flags each, of the rest as much as fits.
func (d *daemonRun) tell(notes []migrate.Note, flags bool) {
	lost := lo.Filter(notes, func(n migrate.Note, _ int) bool {
		return n.Verdict == migrate.Refused || flags && strings.Contains(n.Text, "not carried over: ") || flags && strings.Contains(n.Text, "start the agent with")
	})
	for i, n := range lost {
		if !flags && i == 5 {
			d.say("… and %d more; `agentctl import` tells all", len(lost)-i)
			return
		}
		if flags {
			n.Name = "--" + strings.TrimPrefix(strings.Replace(n.Name, "default_docker.arguments", "docker", 1), "agent.")
			if _, after, ok := strings.Cut(n.Text, "not carried over: "); ok {
				n.Text = after
			}
		}
		d.say("not as with clearml-agent: %s: %s", n.Name, n.Text)
	}
}

// group is the worker of the flags over what configuration and variables say of one.
func (d *daemonRun) group(g spec.WorkerSpec, own *spec.Node) spec.WorkerSpec {
	from, box := own.Spec.Workers[0], own.Spec.Sandbox
	g.Mode = ""
	if d.sandbox {
		g.Mode, g.Image = spec.ModeSandbox, d.image
		g.Sandbox = spec.WorkerSandbox{Network: box.Network, ShmSize: box.ShmSize, Ulimits: box.Ulimits, Arguments: box.Arguments}
		g.Resources = from.Resources
	}
	if len(from.Windows) > 0 {
		g.Windows = from.Windows
	}
	if d.fair {
		g.Order = spec.OrderRoundRobin
	}
	if d.services > 0 {
		g.Count = &d.services
	}
	if len(d.tags) > 0 {
		g.Tags = d.tags
	}
	g.CreateQueues = g.CreateQueues || d.create
	g.Standalone = g.Standalone || d.standalone
	g.LogLevel = cmp.Or(d.logLevel, g.LogLevel)
	g.PythonOptimize = cmp.Or(d.optimize, g.PythonOptimize)
	return g
}

// place gives the worker its GPUs, its id and its name.
func (d *daemonRun) place(w *wantedWorkers, g spec.WorkerSpec) error {
	// Runtimes of containers say void where they give GPUs by CDI: it tells nothing.
	visible := cmp.Or(d.gpus, strings.TrimPrefix(os.Getenv("NVIDIA_VISIBLE_DEVICES"), "void"), os.Getenv("CUDA_VISIBLE_DEVICES"))
	if d.cpuOnly || d.services > 0 || slices.Contains([]string{"void", "-1"}, strings.ToLower(visible)) { // what drivers call none
		visible = spec.GPUsNone
	}
	devices, err := devicesOf(visible)
	if err != nil {
		return err
	}
	switch {
	case strings.EqualFold(visible, spec.GPUsAll):
		g.GPUs = spec.GPURequest{Mode: spec.GPUsAll}
	case strings.EqualFold(visible, spec.GPUsNone):
		g.GPUs = spec.GPURequest{Mode: spec.GPUsNone}
	case len(devices) > 0:
		g.GPUs = spec.GPURequest{Mode: spec.GPUsList, Devices: devices}
	}
	host, err := d.workerName(w.base)
	if err != nil {
		return err
	}
	w.id = g.ID
	switch {
	case w.id != "":
	case strings.EqualFold(visible, spec.GPUsNone):
		w.id, w.slot = host+":cpu", true
	case visible != "":
		w.id = host + ":" + lo.Ternary(d.dynamic, "d", "") + "gpu" + strings.ReplaceAll(visible, ":", ".")
	default:
		w.id, w.slot = host, true
	}
	g.ID, g.Name = w.id, groupName(strings.TrimPrefix(w.id, host))
	w.groups = []spec.WorkerSpec{g}
	if d.dynamic && !d.stop { // to stop them all the id will do
		w.groups, err = d.deal(host, g, devices)
	}
	return err
}

// workerName is what clearml-agent calls the machine.
func (d *daemonRun) workerName(base *spec.Node) (string, error) {
	host, err := (&agent{app: d.app, flags: d.agent}).nodeName()
	return cmp.Or(os.Getenv("CLEARML_WORKER_NAME"), os.Getenv("TRAINS_WORKER_NAME"), base.Metadata.Name, host), err
}

// groupName is a name for a group of workers by what its id says.
func groupName(id string) string {
	name := "daemon"
	if rest := spec.NodeName(strings.ReplaceAll(id, ".", "-")); rest != "node" {
		name += "-" + rest
	}
	return strings.TrimRight(name[:min(len(name), 50)], "-")
}

// devicesOf reads a list of GPUs as --gpus has it: 0,1 or 0-3 or UUIDs.
func devicesOf(text string) ([]string, error) {
	if text == "" || strings.EqualFold(text, spec.GPUsAll) || strings.EqualFold(text, spec.GPUsNone) {
		return nil, nil
	}
	var out []string
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		var from, to int
		switch n, _ := fmt.Sscanf(part+"\n", "%d-%d\n", &from, &to); {
		case n == 2 && from <= to && to-from < 128:
			for i := from; i <= to; i++ {
				out = append(out, fmt.Sprint(i))
			}
		case part == "" || strings.ContainsAny(part, ":."):
			return nil, usagef("--gpus %.40q: a part of a GPU is named by the UUID of its MIG instance, as nvidia-smi -L lists it", text)
		default:
			out = append(out, part)
		}
	}
	return lo.Uniq(out), nil
}
