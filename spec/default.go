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
	DefaultPollInterval = Duration(2 * time.Second)
	DefaultStopGrace    = Duration(30 * time.Second)
	DefaultMaxEntries   = 20
	DefaultMinFree      = Size(1 << 30)
	DefaultResolveAge   = Duration(7 * day)
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
	set(&s.GPUs.Slots.Mode, SlotsNone)
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
	setPointer(&s.PackageManager.SystemSitePackages, false)
	setPointer(&s.Cache.MaxEntries, DefaultMaxEntries)
	set(&s.Cache.MinFree, DefaultMinFree)
	set(&s.Cache.ResolveAge, DefaultResolveAge)
	setPointer(&s.Cache.Prebuild, true)
	return out
}

func (w *WorkerSpec) setDefaults() {
	set(&w.Order, OrderPriority)
	setPointer(&w.Count, 1)
	set(&w.GPUs.Mode, GPUsNone)
	set(&w.Mode, ModeVenv)
	set(&w.StopGrace, DefaultStopGrace)
	set(&w.Drain.Policy, DrainFinish)
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
	s := &out.Spec
	s.GPUs.Slots.List = slices.Clone(s.GPUs.Slots.List)
	s.Workers = slices.Clone(s.Workers)
	for i := range s.Workers {
		s.Workers[i] = s.Workers[i].clone()
	}
	s.PackageManager = s.PackageManager.clone()
	s.Git.CredentialsCommand = slices.Clone(s.Git.CredentialsCommand)
	s.Cache.MaxEntries = clonePointer(s.Cache.MaxEntries)
	s.Cache.Prebuild = clonePointer(s.Cache.Prebuild)
	s.Sandbox.Allow.Mounts = slices.Clone(s.Sandbox.Allow.Mounts)
	return &out
}

func (w WorkerSpec) clone() WorkerSpec {
	w.Queues = slices.Clone(w.Queues)
	w.Count = clonePointer(w.Count)
	w.GPUs.Devices = slices.Clone(w.GPUs.Devices)
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
