package dockerargs

import (
	"net/netip"
	"os"
	"slices"

	"github.com/samber/lo"
)

// Settings is what a sandbox has besides its defaults; the zero value is nothing.
type Settings struct {
	// Env comes in order, of one name the last counts. What the agent itself sets
	// for the task belongs over it.
	Env    []Env
	Mounts []Mount
	// ShmSize is the size of /dev/shm.
	ShmSize int64
	// Network is NetworkHost, NetworkPrivate, NetworkNone or "".
	Network string
	// HostIPC shares the host's shared memory and System V objects.
	HostIPC                      bool
	Hostname                     string
	Hosts                        []Host
	DNS                          []netip.Addr
	DNSSearch, DNSOptions        []string
	Ulimits                      []Ulimit
	CapAdd                       []string // as CAP_SYS_PTRACE; a sandbox has none else
	CapDrop                      []string // also ALL; Merge takes them from those of the node
	Devices                      []Device
	Memory, MemorySwap           int64 // MemorySwap is memory and swap together, as in Docker
	CPUs                         float64
	CPUSet                       string // as 0-3,8
	CPUShares, BlkioWeight, PIDs int64
	OOMScoreAdj                  int
	// User is USER or USER:GROUP, by name or number inside the image.
	User         string
	Groups       []string
	WorkingDir   string
	ReadOnlyRoot bool
}

// The networks of a sandbox.
const (
	NetworkHost    = "host"
	NetworkPrivate = "private"
	NetworkNone    = "none"
)

// Env is one variable. With FromHost its value is that of the agent's environment,
// which whoever applies it looks up; where it is not set there, neither is it here.
type Env struct {
	Name, Value string
	FromHost    bool
}

// Mount is a folder or file of the host, or a tmpfs where Source is "".
type Mount struct {
	Source, Target string
	// Folder is the allowed one that Source is in. Who opens Source below it must
	// follow no symbolic link there: one that another task made could lead out of
	// it, or to a place that is never mounted.
	Folder   string
	ReadOnly bool
	// Of a tmpfs.
	Size int64
	Mode os.FileMode // with os.ModeSticky; 0 is 1777
	Exec bool
}

// Host is a line of /etc/hosts.
type Host struct {
	Name string
	Addr netip.Addr
}

// Unlimited is a Ulimit without an end.
const Unlimited = -1

// Ulimit is a resource limit by its name for ulimit, as nofile.
type Ulimit struct {
	Name       string
	Soft, Hard int64
}

// Device is a device node of the host.
type Device struct {
	Path, InContainer string
	Permissions       string // of r and w
}

// Merge lays the settings of a task over those of its node: lists are added, of
// one target, host, ulimit or device the task's counts. What a task both adds and
// drops it has, as in Docker.
func Merge(node, task Settings) Settings {
	node.CapAdd = lo.Reject(node.CapAdd, func(name string, _ int) bool {
		return slices.Contains(task.CapDrop, name) || slices.Contains(task.CapDrop, "ALL")
	})
	return add(node, task)
}

// add is one after the other, of a thing that there is once the later.
func add(node, task Settings) Settings {
	out := node
	out.Env = slices.Concat(node.Env, task.Env)
	out.Mounts = replace(node.Mounts, task.Mounts, func(m Mount) string { return m.Target })
	out.Hosts = replace(node.Hosts, task.Hosts, func(h Host) Host { return h })
	out.Ulimits = replace(node.Ulimits, task.Ulimits, func(u Ulimit) string { return u.Name })
	out.Devices = replace(node.Devices, task.Devices, func(d Device) string { return d.InContainer })
	out.DNS = replace(node.DNS, task.DNS, func(a netip.Addr) netip.Addr { return a })
	for to, more := range map[*[]string][]string{
		&out.CapAdd: task.CapAdd, &out.CapDrop: task.CapDrop, &out.Groups: task.Groups,
		&out.DNSSearch: task.DNSSearch, &out.DNSOptions: task.DNSOptions,
	} {
		*to = replace(*to, more, func(s string) string { return s })
	}
	over(&out.ShmSize, task.ShmSize)
	over(&out.Network, task.Network)
	over(&out.HostIPC, task.HostIPC)
	over(&out.Hostname, task.Hostname)
	over(&out.Memory, task.Memory)
	over(&out.MemorySwap, task.MemorySwap)
	over(&out.CPUs, task.CPUs)
	over(&out.CPUSet, task.CPUSet)
	over(&out.CPUShares, task.CPUShares)
	over(&out.BlkioWeight, task.BlkioWeight)
	over(&out.PIDs, task.PIDs)
	over(&out.OOMScoreAdj, task.OOMScoreAdj)
	over(&out.User, task.User)
	over(&out.WorkingDir, task.WorkingDir)
	over(&out.ReadOnlyRoot, task.ReadOnlyRoot)
	return out
}

func over[T comparable](to *T, value T) {
	var zero T
	if value != zero {
		*to = value
	}
}

// replace is under with list after it; of those with one key the last stays.
func replace[T any, K comparable](under, list []T, key func(T) K) []T {
	all := slices.Concat(under, list)
	last := make(map[K]int, len(all))
	for i, x := range all {
		last[key(x)] = i
	}
	if len(last) == len(all) {
		return all
	}
	return lo.Filter(all, func(x T, i int) bool { return last[key(x)] == i })
}
