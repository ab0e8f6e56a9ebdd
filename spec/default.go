package spec

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Env is what the defaults take from the machine.
type Env struct{ Hostname string }

// Defaults of what is left out.
const (
	DefaultPollInterval     = Duration(2 * time.Second)
	DefaultStopGrace        = Duration(30 * time.Second)
	DefaultAbortCallback    = Duration(30 * time.Minute)
	DefaultCheckpointSignal = "SIGUSR1"
	DefaultCheckpointGrace  = Duration(2 * time.Minute)
	DefaultMaxEntries       = 20
	DefaultAttempts         = 3
	DefaultMinFree          = Size(1 << 30)
	DefaultResolveAge       = Duration(7 * day)
	DefaultShmSize          = Size(1 << 30)
	DefaultIDs              = 65536
)

// Default is a copy of n in which everything that was left out and has a default
// is set. It is the only place for defaults; Default of its result changes nothing.
// A worker's packageManager stays what it overrides: Expand lays it over the node's.
func (n *Node) Default(env Env) *Node {
	out := n.clone()
	set(&out.APIVersion, APIVersion)
	set(&out.Kind, KindNode)
	set(&out.Metadata.Name, NodeName(env.Hostname))
	s := &out.Spec
	set(&s.Server.PollInterval, DefaultPollInterval)
	set(&s.GPUs.Slots.Mode, SlotsAuto)
	for i := range s.GPUs.Slots.List {
		set(&s.GPUs.Slots.List[i].Shares, 1)
	}
	if s.Workers == nil {
		s.Workers = []WorkerSpec{}
	}
	for i := range s.Workers {
		s.Workers[i].setDefaults()
	}
	set(&s.PackageManager.Type, ManagerPip)
	set(&s.PackageManager.Python.OnMissing, OnMissingFail)
	set(&s.PackageManager.RequirementsFrom, RequirementsTask)
	set(&s.PackageManager.ProjectFolder, ProjectFolderRoot)
	set(&s.PackageManager.TorchIndex, TorchOff)
	set(&s.Git.Protocol, ProtocolAsIs)
	setPointer(&s.PackageManager.SystemSitePackages, false)
	setPointer(&s.Cache.MaxEntries, DefaultMaxEntries)
	set(&s.Cache.MinFree, DefaultMinFree)
	set(&s.Cache.ResolveAge, DefaultResolveAge)
	setPointer(&s.Cache.Prebuild, true)
	s.Sandbox.setDefaults()
	return out
}

func (s *Sandbox) setDefaults() {
	set(&s.DefaultImage, ImageHost)
	set(&s.Pull, PullMissing)
	if s.IDs.Base > 0 {
		set(&s.IDs.Size, DefaultIDs)
	}
	set(&s.Network, NetworkHost)
	set(&s.BuildNetwork, NetworkHost)
	set(&s.ShmSize, DefaultShmSize)
	set(&s.Scratch.Medium, MediumDisk)
	s.Arguments.setDefaults()
	for i := range s.Rules {
		s.Rules[i].Arguments.setDefaults()
	}
	setPointer(&s.CreateAhead, true)
	set(&s.OnDenied, OnDeniedFail)
	set(&s.Keep, KeepNever)
	setPointer(&s.Allow.Env, true)
}

func (a *Arguments) setDefaults() {
	for i := range a.Mounts {
		set(&a.Mounts[i].Target, a.Mounts[i].Source)
	}
}

func (w *WorkerSpec) setDefaults() {
	w.Sandbox.Arguments.setDefaults()
	set(&w.Order, OrderPriority)
	setPointer(&w.Count, 1)
	set(&w.GPUs.Mode, GPUsNone)
	set(&w.Mode, ModeVenv)
	set(&w.StopGrace, DefaultStopGrace)
	set(&w.AbortCallback, DefaultAbortCallback)
	set(&w.Drain.Policy, DrainFinish)
	set(&w.Drain.Checkpoint.Signal, DefaultCheckpointSignal)
	set(&w.Drain.Checkpoint.Grace, DefaultCheckpointGrace)
	set(&w.OnInfrastructureFailure.Policy, InfrastructureReport)
	set(&w.OnInfrastructureFailure.Attempts, DefaultAttempts)
}

func set[T comparable](to *T, value T) {
	var zero T
	if *to == zero {
		*to = value
	}
}

func setPointer[T any](to **T, value T) {
	if *to == nil {
		*to = &value
	}
}

// NodeName makes the name of a node out of a host name: what a name may not hold
// becomes -, and a name without any letter or digit becomes "node".
func NodeName(hostname string) string {
	var labels []string
	for label := range strings.SplitSeq(strings.ToLower(hostname), ".") {
		label = strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
				return r
			}
			return '-'
		}, label)
		if label = strings.Trim(label, "-"); label != "" {
			labels = append(labels, label)
		}
	}
	name := strings.Join(labels, ".")
	if len(name) > 253 {
		name = strings.TrimRight(name[:253], "-.")
	}
	if name == "" {
		return "node"
	}
	return name
}

// clone copies n with everything below it.
func (n *Node) clone() *Node {
	out := *n
	out.Metadata.Labels = maps.Clone(n.Metadata.Labels)
	if out.Match = clonePointer(n.Match); out.Match != nil {
		out.Match.Labels = maps.Clone(n.Match.Labels)
	}
	s := &out.Spec
	s.GPUs.Slots.List = slices.Clone(s.GPUs.Slots.List)
	s.QueueLimits = slices.Clone(s.QueueLimits)
	s.Workers = slices.Clone(s.Workers)
	for i := range s.Workers {
		s.Workers[i] = s.Workers[i].clone()
	}
	s.PackageManager = s.PackageManager.clone()
	s.Git.CredentialsCommand = slices.Clone(s.Git.CredentialsCommand)
	s.Cache.MaxEntries = clonePointer(s.Cache.MaxEntries)
	s.Cache.Prebuild = clonePointer(s.Cache.Prebuild)
	s.Sandbox = s.Sandbox.clone()
	return &out
}

func (s Sandbox) clone() Sandbox {
	s.Registries = slices.Clone(s.Registries)
	for i := range s.Registries {
		s.Registries[i].Mirrors = slices.Clone(s.Registries[i].Mirrors)
	}
	s.Ulimits = maps.Clone(s.Ulimits)
	s.HostPorts = slices.Clone(s.HostPorts)
	s.CreateAhead, s.Allow.Env = clonePointer(s.CreateAhead), clonePointer(s.Allow.Env)
	s.Allow.Images = slices.Clone(s.Allow.Images)
	s.Arguments = s.Arguments.clone()
	s.Rules = slices.Clone(s.Rules)
	for i := range s.Rules {
		r := &s.Rules[i]
		r.Match.Tags, r.Match.Requirements = slices.Clone(r.Match.Tags), slices.Clone(r.Match.Requirements)
		r.Arguments = r.Arguments.clone()
	}
	allow := &s.Allow
	for _, list := range []*[]string{
		&s.AptPackages, &allow.HostEnv, &allow.Mounts, &allow.MountsWritable, &allow.Network, &allow.IPC, &allow.Ulimits, &allow.CapAdd, &allow.Devices, &allow.AptPackages,
	} {
		*list = slices.Clone(*list)
	}
	return s
}

func (a Arguments) clone() Arguments {
	a.Mounts = slices.Clone(a.Mounts)
	a.Env, a.Tmpfs, a.Hosts = maps.Clone(a.Env), maps.Clone(a.Tmpfs), maps.Clone(a.Hosts)
	for _, list := range a.lists() {
		*list = slices.Clone(*list)
	}
	return a
}

// lists are all lists of texts of a, in the same order for any two.
func (a *Arguments) lists() []*[]string {
	return []*[]string{&a.HostEnv, &a.Devices, &a.Groups, &a.CapAdd, &a.DNS, &a.DNSSearch, &a.DNSOptions}
}

func (w WorkerSpec) clone() WorkerSpec {
	w.Queues, w.Tags = slices.Clone(w.Queues), slices.Clone(w.Tags)
	w.Count = clonePointer(w.Count)
	w.GPUs.Devices = slices.Clone(w.GPUs.Devices)
	w.Windows = slices.Clone(w.Windows)
	w.Sandbox.Ulimits = maps.Clone(w.Sandbox.Ulimits)
	w.Sandbox.Arguments = w.Sandbox.Arguments.clone()
	w.Environment, w.HostEnvironment = maps.Clone(w.Environment), slices.Clone(w.HostEnvironment)
	w.PackageManager = w.PackageManager.clone()
	return w
}

func (p PackageManager) clone() PackageManager {
	p.Versions = maps.Clone(p.Versions)
	p.SystemSitePackages = clonePointer(p.SystemSitePackages)
	for _, l := range p.lists() {
		*l = slices.Clone(*l)
	}
	return p
}

func clonePointer[T any](p *T) *T {
	if p == nil {
		return nil
	}
	value := *p
	return &value
}
