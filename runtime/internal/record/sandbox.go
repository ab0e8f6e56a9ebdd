package record

import (
	"cmp"

	"agentctl/runtime/internal/netns"
	"agentctl/runtime/internal/relay"
)

// The names under which a sandboxed run shows its containment and its view of
// the file system.
const (
	SandboxPIDNS = "sandbox" // a PID namespace of its own, ended with its init
	SandboxRoot  = "sandbox" // a root file system of its own
)

// RunnerName is the runner's program in /dev of a sandbox, and IdleArgs a command
// that does nothing until it is ended: that of a sandbox for what is executed in it.
const RunnerName = ".agentctl-shim-runner"

// IdleArgs is such a command, in any image.
func IdleArgs() []string { return []string{"/dev/" + RunnerName, "idle"} }

// The networks of a sandbox.
const (
	NetworkHost    = "host"    // the host's own
	NetworkNone    = "none"    // a loopback device and nothing else
	NetworkPrivate = "private" // its own, with a way out through the host
)

// Sandbox says in what surroundings a run is to be, in place of the host's file
// system: an image's root, namespaces, limits. With it, Args, Env, Cwd, UID, GID
// and Groups of the Config are those inside the image, where -1 is root; Overlays
// and Keep are mounted at their paths inside, the last thing before the start;
// Hide names folders of the host that Host does not show.
type Sandbox struct {
	// Layers are the folders of an image's layers, topmost first.
	Layers []string `json:"layers,omitempty"`
	// Host shows the host's own file system, read-only, in place of layers, but
	// for /root, /home, /run, /tmp, /var/tmp and what Hide names.
	Host bool `json:"host,omitempty"`
	// Upper is a folder of this run alone, on a local file system, in which the
	// folders upper and work are made for what the task changes in its root. "" is
	// memory, of which UpperSize bytes may be used (0: half of the machine's).
	Upper     string `json:"upper,omitempty"`
	UpperSize int64  `json:"upperSize,omitempty"`
	// IDs are the host's users and groups that those inside are.
	IDs IDRange `json:"ids"`
	// Shifted tells that layers are stored with owners of the range; else they are
	// mapped to it while they are mounted. The lower folders of overlays always are:
	// what is in them was made by the users of the range.
	Shifted bool `json:"shifted,omitempty"`

	// Hostname is the name inside; "" is the run's ID.
	Hostname string `json:"hostname,omitempty"`
	// ResolvConf and Hosts are files of the host that are shown, as copies, at
	// /etc/resolv.conf and /etc/hosts; "" leaves those of the image.
	ResolvConf string `json:"resolvConf,omitempty"`
	Hosts      string `json:"hosts,omitempty"`

	Mounts []Mount `json:"mounts,omitempty"`
	// Devices are device nodes of the host that the task may use, beside the usual
	// ones (null, zero, full, random, urandom, tty, ptmx).
	Devices []Device `json:"devices,omitempty"`
	// ShmSize is the size of /dev/shm in bytes; 0 is 64 MiB.
	ShmSize int64 `json:"shmSize,omitempty"`
	// HostIPC shares the host's /dev/shm, message queues and System V objects.
	HostIPC bool              `json:"hostIPC,omitempty"`
	Ulimits []Ulimit          `json:"ulimits,omitempty"`
	Sysctls map[string]string `json:"sysctls,omitempty"`
	// CapAdd are the capabilities of the task's root, as CAP_SYS_PTRACE; it has
	// none else.
	CapAdd []string `json:"capAdd,omitempty"`
	// Unconfined leaves the filter of system calls out.
	Unconfined bool `json:"unconfined,omitempty"`
	// ReadOnly makes the root read-only.
	ReadOnly bool `json:"readOnly,omitempty"`

	Network Network `json:"network"`
	// Resources limits what the task may use.
	Resources Resources `json:"resources"`
	// StopSignal is the signal that asks the task to end; "" is SIGTERM.
	StopSignal string `json:"stopSignal,omitempty"`
	// OOMScoreAdj is added to the kernel's score when memory runs out; nil leaves
	// the agent's.
	OOMScoreAdj *int `json:"oomScoreAdj,omitempty"`
}

// Namespaces are the kinds of namespaces that it has for itself, as the OCI's runtime
// specification names them.
func (s *Sandbox) Namespaces() []string {
	kinds := []string{"user", "pid", "mount", "uts", "cgroup"}
	if !s.HostIPC {
		kinds = append(kinds, "ipc")
	}
	if s.Network.Mode != NetworkHost {
		kinds = append(kinds, "network")
	}
	return kinds
}

// IDRange is a range of the host's users and groups: 0 inside is Base outside.
type IDRange struct {
	Base int `json:"base"`
	Size int `json:"size"`
}

// Mount shows a file or folder of the host inside.
type Mount struct {
	Source   string `json:"source"`
	Target   string `json:"target"`
	ReadOnly bool   `json:"readOnly,omitempty"`
	// Memory makes it an empty folder in memory, of Size bytes at most (0: half of
	// the machine's), in place of a Source.
	Memory bool  `json:"memory,omitempty"`
	Size   int64 `json:"size,omitempty"`
}

// Device is a device node of the host.
type Device struct {
	Path string `json:"path"`
	// Target is where it is shown, below /dev; "" is Path.
	Target string `json:"target,omitempty"`
	// Access is r, w or rw.
	Access string `json:"access"`
}

// At is where the device is shown.
func (d Device) At() string { return cmp.Or(d.Target, d.Path) }

// Ulimit is a limit of setrlimit(2) by its short name, as nofile; -1 is none.
type Ulimit struct {
	Name string `json:"name"`
	Soft int64  `json:"soft"`
	Hard int64  `json:"hard"`
}

// Network is a sandbox's network.
type Network struct {
	Mode string `json:"mode"` // host, none or private
	// Pool is what a private one is made from.
	Pool *netns.Pool `json:"pool,omitempty"`
	// Servers are reached through the shim, in none and private.
	Servers *relay.Plan `json:"servers,omitempty"`
}

// Resources are limits; 0 and "" are none.
type Resources struct {
	Memory int64 `json:"memory,omitempty"` // bytes
	// Swap is how many bytes may be swapped out beyond Memory; -1 is no limit.
	Swap int64   `json:"swap,omitempty"`
	CPUs float64 `json:"cpus,omitempty"`
	// CPUSet names CPUs, as 0-3,6; MemorySet memory nodes.
	CPUSet    string `json:"cpuSet,omitempty"`
	MemorySet string `json:"memorySet,omitempty"`
	// CPUShares is the weight among others, 1024 being the usual.
	CPUShares uint64 `json:"cpuShares,omitempty"`
	PIDs      int64  `json:"pids,omitempty"`
	// IOWeight is the weight among others, 10 to 1000.
	IOWeight uint16    `json:"ioWeight,omitempty"`
	IO       []IOLimit `json:"io,omitempty"`
}

// IOLimit limits what goes to and from a block device per second; 0 is no limit.
type IOLimit struct {
	Device    string `json:"device"` // its node on the host
	ReadBPS   uint64 `json:"readBPS,omitempty"`
	WriteBPS  uint64 `json:"writeBPS,omitempty"`
	ReadIOPS  uint64 `json:"readIOPS,omitempty"`
	WriteIOPS uint64 `json:"writeIOPS,omitempty"`
}

// None tells that nothing is limited.
func (r Resources) None() bool {
	return r.Memory == 0 && r.Swap == 0 && r.CPUs == 0 && r.CPUSet == "" && r.MemorySet == "" &&
		r.CPUShares == 0 && r.PIDs == 0 && r.IOWeight == 0 && len(r.IO) == 0
}
