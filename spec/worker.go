package spec

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"

	"github.com/samber/lo"
)

// Worker is one slot that runs one task at a time, with every setting resolved.
// It is what Expand makes of a WorkerSpec.
type Worker struct {
	// Name is the identity, GROUP/INDEX, as "train/0".
	Name  string `json:"name"`
	Group string `json:"group"`
	Index int    `json:"index"`
	// ID is the ClearML worker id.
	ID           string   `json:"id"`
	Queues       []string `json:"queues"`
	CreateQueues bool     `json:"createQueues,omitempty"`
	Tags         []string `json:"tags,omitempty"`
	Order        string   `json:"order"`
	Mode         string   `json:"mode"`
	// Image of tasks that name none, and Sandbox: of a worker with ModeSandbox.
	Image          string         `json:"image,omitempty"`
	Sandbox        Sandbox        `json:"sandbox,omitzero"`
	GPUs           GPURequest     `json:"gpus,omitzero"`
	PackageManager PackageManager `json:"packageManager"`
	Resources      Resources      `json:"resources,omitzero"`
	MaxRuntime     Duration       `json:"maxRuntime,omitempty"`
	StopGrace      Duration       `json:"stopGrace,omitempty"`
	AbortCallback  Duration       `json:"abortCallback,omitempty"`
	Windows        []Window       `json:"windows,omitempty"`
	MaxTasks       int            `json:"maxTasks,omitempty"`
	Drain          Drain          `json:"drain"`
	// OnInfrastructureFailure is empty in workers of earlier releases, which is to report.
	OnInfrastructureFailure OnInfrastructureFailure `json:"onInfrastructureFailure,omitzero"`
	RunAs                   string                  `json:"runAs,omitempty"`
	Environment             map[string]string       `json:"environment,omitempty"`
	HostEnvironment         []string                `json:"hostEnvironment,omitempty"`
	TaskEnvironment         bool                    `json:"taskEnvironment,omitempty"`
	PythonOptimize          int                     `json:"pythonOptimize,omitempty"`
	LogLevel                string                  `json:"logLevel,omitempty"`
	Standalone              bool                    `json:"standalone,omitempty"`
}

// Expand makes the workers of a node, which must have its defaults: by the order of
// the groups, then by index. They share no memory with n.
func Expand(n *Node) []Worker {
	var workers []Worker
	for _, g := range n.Spec.Workers {
		for i := range count(g) {
			workers = append(workers, expand(n, g.clone(), i))
		}
	}
	return workers
}

func expand(n *Node, g WorkerSpec, index int) Worker {
	w := Worker{
		Name:  fmt.Sprintf("%s/%d", g.Name, index),
		Group: g.Name, Index: index,
		ID:     g.workerID(n.Metadata.Name, index),
		Queues: g.Queues, CreateQueues: g.CreateQueues, Tags: g.Tags, Order: g.Order, Mode: g.Mode, Image: g.Image, GPUs: g.GPUs,
		PackageManager: n.Spec.PackageManager.clone().override(g.PackageManager),
		Resources:      g.Resources, MaxRuntime: g.MaxRuntime, StopGrace: g.StopGrace, AbortCallback: g.AbortCallback,
		Windows: g.Windows, MaxTasks: g.MaxTasks, Drain: g.Drain, OnInfrastructureFailure: g.OnInfrastructureFailure, RunAs: g.RunAs,
		Environment: g.Environment, HostEnvironment: g.HostEnvironment, TaskEnvironment: g.TaskEnvironment,
		PythonOptimize: g.PythonOptimize, LogLevel: g.LogLevel, Standalone: g.Standalone,
	}
	if w.Mode == ModeSandbox {
		w.Sandbox = n.Spec.Sandbox.clone()
		w.Sandbox.override(g.Sandbox)
		over(&w.Sandbox.DefaultImage, w.Image)
		w.Image = w.Sandbox.DefaultImage
	}
	return w
}

// workerID is the ClearML id of one worker of the group.
func (w WorkerSpec) workerID(node string, index int) string {
	switch {
	case w.ID == "":
		return fmt.Sprintf("%s:%s:%d", node, w.Name, index)
	case count(w) == 1:
		return w.ID
	}
	return fmt.Sprintf("%s:%d", w.ID, index)
}

// override lays o over p, field by field; versions one by one, lists as a whole.
func (p PackageManager) override(o PackageManager) PackageManager {
	over(&p.Type, o.Type)
	over(&p.UseInterpreter, o.UseInterpreter)
	over(&p.Python.Default, o.Python.Default)
	over(&p.Python.OnMissing, o.Python.OnMissing)
	over(&p.Python.InstallMirror, o.Python.InstallMirror)
	over(&p.IndexURL, o.IndexURL)
	over(&p.IndexCredentialsFile, o.IndexCredentialsFile)
	over(&p.RequirementsFrom, o.RequirementsFrom)
	over(&p.ProjectFolder, o.ProjectFolder)
	over(&p.TorchIndex, o.TorchIndex)
	over(&p.TorchIndexURL, o.TorchIndexURL)
	over(&p.SystemSitePackages, o.SystemSitePackages)
	over(&p.BuildTimeout, o.BuildTimeout)
	if p.Versions == nil {
		p.Versions = o.Versions
	} else {
		maps.Copy(p.Versions, o.Versions)
	}
	from := o.lists()
	for i, to := range p.lists() {
		if *from[i] != nil {
			*to = *from[i]
		}
	}
	return p
}

// override lays o over s: texts, sizes and limits one by one, lists one after the other.
func (s *Sandbox) override(o WorkerSandbox) {
	over(&s.Network, o.Network)
	over(&s.ShmSize, o.ShmSize)
	overMap(&s.Ulimits, o.Ulimits)
	s.Arguments.add(o.Arguments)
}

func (a *Arguments) add(o Arguments) {
	overMap(&a.Env, o.Env)
	overMap(&a.Tmpfs, o.Tmpfs)
	overMap(&a.Hosts, o.Hosts)
	over(&a.User, o.User)
	over(&a.IPC, o.IPC)
	for _, m := range o.Mounts {
		a.Mounts = append(lo.Reject(a.Mounts, func(node HostMount, _ int) bool { return node.Target == m.Target }), m)
	}
	from := o.lists()
	for i, to := range a.lists() {
		if len(*from[i]) > 0 {
			*to = lo.Uniq(append(*to, *from[i]...))
		}
	}
}

func overMap(to *map[string]string, values map[string]string) {
	if len(values) > 0 {
		*to = lo.Assign(*to, values)
	}
}

// lists are all lists of p, in the same order for any two.
func (p *PackageManager) lists() []*List {
	return []*List{
		&p.CondaChannels, &p.ExtraIndexURLs, &p.IndexCredentialsCommand, &p.TaskCredentials,
		&p.PriorityPackages, &p.PostPackages, &p.PriorityOptionalPackages, &p.PostOptionalPackages, &p.InstallFlags,
		&p.Groups, &p.Extras,
	}
}

func over[T comparable](to *T, value T) {
	var zero T
	if value != zero {
		*to = value
	}
}

// Equal says whether two workers have the same settings; an absent list and an
// empty one are the same.
func (w Worker) Equal(o Worker) bool { return bytes.Equal(w.canonical(), o.canonical()) }

// Hash is a digest of all settings, the same for equal workers in every process.
func (w Worker) Hash() string {
	sum := sha256.Sum256(w.canonical())
	return hex.EncodeToString(sum[:16])
}

func (w Worker) canonical() []byte {
	if len(w.Queues) == 0 {
		w.Queues = []string{}
	}
	data, err := json.Marshal(w)
	if err != nil { // only a share that is no number can't be written
		panic(fmt.Sprintf("cannot encode worker %s: %v", w.Name, err))
	}
	return data
}
