package record

import (
	"path/filepath"
	"time"
)

// Version is the version of the records that this release writes.
const Version = 1

// The rungs of containment, best first: how the processes of a task are held
// together, so that all of them can be ended.
const (
	Cgroup2   = "cgroup2"   // a cgroup v2 of its own, ended by cgroup.kill
	Cgroup1   = "cgroup1"   // a v1 freezer cgroup, frozen, killed and thawed
	PIDNS     = "pidns"     // a PID namespace, ended with its init
	Subreaper = "subreaper" // descendants of the shim, swept until none is left
)

// The rungs of the mount namespace, best first: how a task gets a view of the
// file system of its own.
const (
	MountRoot   = "root"   // a mount namespace made by root
	MountUserNS = "userns" // a user and a mount namespace made by a plain user
	MountNone   = "none"   // the host's own view
)

// Containments lists the rungs of containment, best first.
func Containments() []string { return []string{Cgroup2, Cgroup1, PIDNS, Subreaper} }

// MountRungs lists the rungs of the mount namespace, best first.
func MountRungs() []string { return []string{MountRoot, MountUserNS, MountNone} }

// Config says what is to be run, as whom, in which view of the file system, and
// for how long.
type Config struct {
	Version int `json:"version"`
	// ID names the run in cgroups and messages: letters, digits, - and _.
	ID string `json:"id"`
	// Dir is the run's folder; it exists, belongs to this run alone, and holds
	// the files that the package comment lists.
	Dir string `json:"dir"`
	// Args is the command; Args[0] is an absolute path as the task sees it.
	Args []string `json:"args"`
	// Env is the task's whole environment, as KEY=VALUE.
	Env []string `json:"env"`
	// Cwd is the working folder as the task sees it, absolute.
	Cwd string `json:"cwd"`
	// UID and GID are the task's user, or -1, -1 for the agent's own. Groups are
	// its supplementary groups; they are ignored for the agent's own user.
	UID    int   `json:"uid"`
	GID    int   `json:"gid"`
	Groups []int `json:"groups,omitempty"`
	// Overlays are mounted in the task's mount namespace.
	Overlays []Overlay `json:"overlays,omitempty"`
	// Hide names folders that the task sees empty, but for Keep and the overlays
	// below them. Without a mount namespace nothing is hidden.
	Hide []string `json:"hide,omitempty"`
	// Keep names files and folders below Hide that stay visible at their paths.
	Keep []string `json:"keep,omitempty"`
	// Own names files and folders that the shim of a sandbox gives to the run's user
	// before the start, with all that is in them: an agent that is not root can't.
	Own []string `json:"own,omitempty"`
	// Grace is the time between SIGTERM and the kill when MaxRuntime is over.
	Grace time.Duration `json:"grace"`
	// MaxRuntime ends the task after this time; 0 means never.
	MaxRuntime time.Duration `json:"maxRuntime"`
	// Containment forces a rung; "" takes the best that works.
	Containment string `json:"containment"`
	// MountNS forces a rung; "" takes the best that works.
	MountNS string `json:"mountNS"`
	// Sandbox runs it in an image's root and namespaces; nil in the host's.
	// Containment and MountNS are then the sandbox's own.
	Sandbox *Sandbox `json:"sandbox,omitempty"`
}

// Overlay is a writable view of a folder that stays as it is.
type Overlay struct {
	// Target is where the task sees the view; it may equal Lower.
	Target string `json:"target"`
	// Lower is the folder shown. The task can change in its view what Lower's
	// owners and modes let its user change.
	Lower string `json:"lower"`
	// Upper is a folder of this run alone, on a local file system, in which the
	// folders upper and work are made for what the task changes. Without it the
	// view is read-only.
	Upper string `json:"upper,omitempty"`
}

// UpperDir is the folder that holds what the task changes. It may be filled
// before the task is started.
func (o Overlay) UpperDir() string { return filepath.Join(o.Upper, "upper") }

// WorkDir is overlayfs's own folder beside UpperDir.
func (o Overlay) WorkDir() string { return filepath.Join(o.Upper, "work") }

// Mapping makes 0 the agent's user, and 1 and those behind it a range of his
// subordinate ids.
type Mapping struct {
	UID  int `json:"uid"`
	GID  int `json:"gid"`
	Size int `json:"size"`
}

// MappedFD is the descriptor that a shim with a Mapping reads until its end before
// it does anything: by then its user is root.
const MappedFD = 0

// Run is the order in run.json: a Config whose rungs are chosen.
type Run struct {
	Config
	// Cgroup is the folder of the task's cgroup, to be made by the shim; it is
	// empty for rungs without one.
	Cgroup string `json:"cgroup,omitempty"`
	// CgroupHome is the cgroup folder to which the shim returns after the fork, or
	// of a sandbox the shim's own.
	CgroupHome string `json:"cgroupHome,omitempty"`
	// CgroupPath is where a sandbox's cgroups lie below the mounts of their
	// hierarchies; "" where none can be made.
	CgroupPath string `json:"cgroupPath,omitempty"`
	// Mapped is how the shim of a plain user's sandbox sees the host's ids; nil for
	// root's. Ids of the Sandbox are then those inside of it.
	Mapped *Mapping `json:"mapped,omitempty"`
	// Rootless tells that the shim's rights are those over a user namespace: of one
	// that is mapped, or that the program which started it is in.
	Rootless bool `json:"rootless,omitempty"`
	// Ahead tells that the sandbox is made before what runs in it is known, and
	// waits for its order.
	Ahead bool `json:"ahead,omitempty"`
	// BootID is what /proc/sys/kernel/random/boot_id holds.
	BootID string `json:"bootID"`
	// Nonce marks the task's processes in their environment.
	Nonce string `json:"nonce"`
	// Leases counts the descriptors behind the first ones that the shim holds
	// until its end.
	Leases int `json:"leases"`
	// Shim is the digest of the shim's program, or its name.
	Shim string `json:"shim"`
}
