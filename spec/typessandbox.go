package spec

// Networks of a sandbox.
const (
	NetworkHost    = "host"
	NetworkPrivate = "private"
	NetworkNone    = "none"
)

// IPCHost is the shared memory of the host.
const IPCHost = "host"

// Pull policies.
const (
	PullMissing = "missing"
	PullAlways  = "always"
	PullNever   = "never"
)

// Answers to a container argument that is not allowed.
const (
	OnDeniedFail = "fail"
	OnDeniedDrop = "drop"
)

// Keep policies for what a task wrote.
const (
	KeepNever     = "never"
	KeepOnFailure = "onFailure"
)

// Media of what a task writes.
const (
	MediumDisk   = "disk"
	MediumMemory = "memory"
)

// ImageHost is the file system of the host as an image.
const ImageHost = "host"

// Sandbox holds the settings of `mode: sandbox`.
type Sandbox struct {
	// Image of tasks for which neither the task nor its worker names one; `host` is the host's own file system, read-only.
	DefaultImage string `yaml:"defaultImage,omitempty" json:"defaultImage,omitempty"`
	// When images are pulled: missing (those that are not here), always (each time a tag is asked for) or never.
	Pull string `yaml:"pull,omitempty" json:"pull,omitempty"`
	// File in the form of docker's config.json with the logins of registries; it is read each time it is used.
	// Left out: that of the agent's user, if there is one.
	CredentialsFile string `yaml:"credentialsFile,omitempty" json:"credentialsFile,omitempty"`
	// How registries are reached, where it is not by https with the host's own certificates.
	Registries []Registry `yaml:"registries,omitempty" json:"registries,omitempty"`
	// Limits of the image store.
	Images ImageStore `yaml:"images,omitempty" json:"images,omitzero"`
	// User and group ids of the host that stand for those inside of sandboxes.
	// Left out: the range of the agent's user in /etc/subuid and /etc/subgid, else one that is free.
	IDs IDRange `yaml:"ids,omitempty" json:"ids,omitzero"`
	// Network of a task: host, private (its own, with a way out) or none. In each it reaches its ClearML server.
	Network string `yaml:"network,omitempty" json:"network,omitempty"`
	// Network while the environment of a task is built.
	BuildNetwork string `yaml:"buildNetwork,omitempty" json:"buildNetwork,omitempty"`
	// Lets tasks reach link-local addresses and those at which clouds hand out the machine's own credentials.
	Metadata bool `yaml:"metadata,omitempty" json:"metadata,omitempty"`
	// TCP ports of services of this machine that tasks in private networks reach.
	HostPorts []int `yaml:"hostPorts,omitempty" json:"hostPorts,omitempty"`
	// Size of /dev/shm; what is in it counts as memory of the task.
	ShmSize Size `yaml:"shmSize,omitempty" json:"shmSize,omitempty"`
	// Resource limits by name, as `nofile: 65536`, `stack: 1024:4096` (soft and hard) or `memlock: unlimited`.
	Ulimits map[string]string `yaml:"ulimits,omitempty" json:"ulimits,omitempty"`
	// What a task writes outside of its mounts; it is gone after the task.
	Scratch Scratch `yaml:"scratch,omitempty" json:"scratch,omitzero"`
	// Debian packages that are put into each image that has apt, from its own sources, once.
	AptPackages []string `yaml:"aptPackages,omitempty" json:"aptPackages,omitempty"`
	// What each sandbox has besides, in the place of arguments for a container.
	Arguments Arguments `yaml:"arguments,omitempty" json:"arguments,omitzero"`
	// Shell script that is run in each sandbox, before the task's own setup script and in the same shell; its first command that fails ends the task.
	SetupScript string `yaml:"setupScript,omitempty" json:"setupScript,omitempty"`
	// What tasks of some kind get: the first rule that fits a task counts.
	Rules []SandboxRule `yaml:"rules,omitempty" json:"rules,omitempty"`
	// Make sandboxes before they are needed: one waits for the next task of each idle worker, of the image that its last task had, for 10 minutes; where it does not fit, the task's own is made while its environment and its code are prepared.
	CreateAhead *bool `yaml:"createAhead,omitempty" json:"createAhead,omitempty"`
	// For an argument of a task that is not allowed: fail the task, or drop the argument with a warning.
	OnDenied string `yaml:"onDenied,omitempty" json:"onDenied,omitempty"`
	// Whether what a task wrote is kept: never or onFailure.
	Keep string `yaml:"keep,omitempty" json:"keep,omitempty"`
	// What the container arguments of a task may ask for; all else is refused. It may always have less than its worker gives.
	Allow Allow `yaml:"allow,omitempty" json:"allow,omitzero"`
}

// WorkerSandbox is what the sandboxes of a group of workers have over those of the node.
type WorkerSandbox struct {
	// Network of a task, in place of `spec.sandbox.network`.
	Network string `yaml:"network,omitempty" json:"network,omitempty"`
	// Size of /dev/shm, in place of `spec.sandbox.shmSize`.
	ShmSize Size `yaml:"shmSize,omitempty" json:"shmSize,omitempty"`
	// Resource limits, over `spec.sandbox.ulimits`.
	Ulimits map[string]string `yaml:"ulimits,omitempty" json:"ulimits,omitempty"`
	// What each sandbox has besides, added to `spec.sandbox.arguments`; of one name or target that of the worker counts.
	Arguments Arguments `yaml:"arguments,omitempty" json:"arguments,omitzero"`
}

// Registry says how one registry is reached.
type Registry struct {
	// Host of the registry, as in the names of its images, with a port if there is one: docker.io, registry.example.com:5000.
	Name string `yaml:"name" json:"name"`
	// URLs that are asked first, in this order.
	Mirrors []string `yaml:"mirrors,omitempty" json:"mirrors,omitempty"`
	// Plain http, or https without a look at the certificate.
	Insecure bool `yaml:"insecure,omitempty" json:"insecure,omitempty"`
	// PEM file with the certificates that vouch for the registry and its mirrors, besides the host's own.
	CAFile string `yaml:"caFile,omitempty" json:"caFile,omitempty"`
	// As `spec.sandbox.credentialsFile`, for this registry.
	CredentialsFile string `yaml:"credentialsFile,omitempty" json:"credentialsFile,omitempty"`
}

// ImageStore limits what images take on the disk.
type ImageStore struct {
	// Bytes kept at most. Left out: no limit.
	MaxSize Size `yaml:"maxSize,omitempty" json:"maxSize,omitempty"`
	// Images are removed, those unused for longest first, until as much is free. Left out: as `spec.cache.minFree`.
	MinFree Size `yaml:"minFree,omitempty" json:"minFree,omitempty"`
	// Images that no task used for longer, of 1m to 3650d, are removed. Left out: no limit.
	MaxAge Duration `yaml:"maxAge,omitempty" json:"maxAge,omitempty"`
}

// IDRange is a range of user and group ids of the host.
type IDRange struct {
	// The first id of the host, which is root inside.
	Base int `yaml:"base" json:"base"`
	// How many there are.
	Size int `yaml:"size,omitempty" json:"size,omitempty"`
}

// Scratch is where a task writes.
type Scratch struct {
	// disk or memory; what is in memory counts as memory of the task.
	Medium string `yaml:"medium,omitempty" json:"medium,omitempty"`
	// Bytes at most, on the disk and in memory each; on a disk only where the file system of the state folder has project quotas
	// (XFS, or ext4 made for them, mounted with prjquota). Left out: no limit.
	Size Size `yaml:"size,omitempty" json:"size,omitempty"`
}

// Arguments are what each sandbox of the node has besides.
type Arguments struct {
	// Environment variables, none of them secret.
	Env map[string]string `yaml:"env,omitempty" json:"env,omitempty"`
	// Names of variables that are taken from the agent's own environment: for secrets, which are never in this file.
	HostEnv []string `yaml:"hostEnv,omitempty" json:"hostEnv,omitempty"`
	// Files and folders of the host.
	Mounts []HostMount `yaml:"mounts,omitempty" json:"mounts,omitempty"`
	// Folders in memory, with their sizes, as `/scratch: 4Gi`.
	Tmpfs map[string]string `yaml:"tmpfs,omitempty" json:"tmpfs,omitempty"`
	// Device nodes, as `/dev/kfd` or `/dev/kfd:/dev/kfd:r`. GPUs need none.
	Devices []string `yaml:"devices,omitempty" json:"devices,omitempty"`
	// Further groups inside, by name or number.
	Groups []string `yaml:"groups,omitempty" json:"groups,omitempty"`
	// User inside, as USER or USER:GROUP. Left out: that of the image.
	User string `yaml:"user,omitempty" json:"user,omitempty"`
	// Capabilities inside, as SYS_PTRACE.
	CapAdd []string `yaml:"capAdd,omitempty" json:"capAdd,omitempty"`
	// host shares the host's shared memory and System V objects with all tasks. Left out: each task has its own.
	IPC string `yaml:"ipc,omitempty" json:"ipc,omitempty"`
	// Addresses by name, for /etc/hosts.
	Hosts map[string]string `yaml:"hosts,omitempty" json:"hosts,omitempty"`
	// Addresses of name servers. Left out: the host's.
	DNS []string `yaml:"dns,omitempty" json:"dns,omitempty"`
	// Domains in which names are looked for.
	DNSSearch []string `yaml:"dnsSearch,omitempty" json:"dnsSearch,omitempty"`
	// Options of the resolver, as ndots:1.
	DNSOptions []string `yaml:"dnsOptions,omitempty" json:"dnsOptions,omitempty"`
}

// HostMount is a file or folder of the host in a sandbox.
type HostMount struct {
	// Path on the host.
	Source string `yaml:"source" json:"source"`
	// Path inside. Left out: the same.
	Target string `yaml:"target,omitempty" json:"target,omitempty"`
	// Whether tasks may write it.
	Writable bool `yaml:"writable,omitempty" json:"writable,omitempty"`
}

// Allow lists what the container arguments of a task may ask for.
type Allow struct {
	// Images that a task may name for itself, whole or by their beginning, as docker.io/library/*; an empty list leaves tasks no choice.
	// `host` has to be named as such. Left out: any other.
	Images List `yaml:"images,omitempty" json:"images,omitzero"`
	// Environment variables (-e NAME=VALUE).
	Env *bool `yaml:"env,omitempty" json:"env,omitempty"`
	// Names of variables that a task may take from the agent's own environment (-e NAME).
	HostEnv []string `yaml:"hostEnv,omitempty" json:"hostEnv,omitempty"`
	// Largest /dev/shm (--shm-size). Left out: `spec.sandbox.shmSize`.
	ShmSize Size `yaml:"shmSize,omitempty" json:"shmSize,omitempty"`
	// Largest folder in memory (--tmpfs), and the size of one for which the task names none. Left out: none is allowed.
	Tmpfs Size `yaml:"tmpfs,omitempty" json:"tmpfs,omitempty"`
	// Folders of the host that may be mounted (-v, --mount), with all below them, to be read.
	Mounts []string `yaml:"mounts,omitempty" json:"mounts,omitempty"`
	// Folders of the host that may be mounted, with all below them, also to be written.
	MountsWritable []string `yaml:"mountsWritable,omitempty" json:"mountsWritable,omitempty"`
	// Networks that a task may ask for (--network) besides those that reach less than `spec.sandbox.network`.
	Network []string `yaml:"network,omitempty" json:"network,omitempty"`
	// host: the host's shared memory and System V objects (--ipc).
	IPC []string `yaml:"ipc,omitempty" json:"ipc,omitempty"`
	// Names of resource limits that a task may raise (--ulimit), as memlock. It may lower those of `spec.sandbox.ulimits`.
	Ulimits []string `yaml:"ulimits,omitempty" json:"ulimits,omitempty"`
	// Capabilities (--cap-add), as SYS_PTRACE.
	CapAdd []string `yaml:"capAdd,omitempty" json:"capAdd,omitempty"`
	// Device nodes (--device), or folders of them, as /dev/infiniband.
	Devices []string `yaml:"devices,omitempty" json:"devices,omitempty"`
	// Another user and further groups inside (--user, --group-add).
	User bool `yaml:"user,omitempty" json:"user,omitempty"`
	// Debian packages that a task may ask for (hyperparameter agentctl/sandbox.aptPackages); "*" for any. Left out: none.
	AptPackages []string `yaml:"aptPackages,omitempty" json:"aptPackages,omitempty"`
}
