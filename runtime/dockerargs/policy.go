package dockerargs

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-units"
)

// Policy is what tasks may ask for; the zero value allows what concerns nobody but
// the task, and to have less.
type Policy struct {
	Allow  Allow
	Limits Limits
	// Network is that of a task that asks for none.
	Network string
	// Platform is that of this machine, as linux/amd64.
	Platform string
	// Never are folders and files of the host of which nothing is mounted, nor
	// anything that holds them: the agent's state, sockets, credentials; by their
	// real paths too, where links lead to them.
	Never []string
	// Reserved are places in the sandbox that are the agent's: nothing is mounted on
	// them, below them or over what holds them.
	Reserved []string
}

// Allow is what the operator allows tasks to ask for.
type Allow struct {
	Env bool
	// HostEnv are the variables that a task may take from the agent's environment.
	HostEnv []string
	// ShmSize and Tmpfs are the largest /dev/shm and the largest tmpfs; 0 is none.
	ShmSize, Tmpfs int64
	// Mounts may be mounted with all below them; MountsWritable also to be written.
	Mounts, MountsWritable []string
	// Network has the networks that may be asked for, besides lesser ones.
	Network []string
	HostIPC bool
	// Ulimits are names, as memlock.
	Ulimits []string
	CapAdd  []string
	// Devices are nodes below /dev, or folders of them.
	Devices []string
	// User allows another user and further groups in the sandbox.
	User bool
}

// Limits are what a task has without asking, of which it may take less; 0 is no
// limit.
type Limits struct {
	CPUs                          float64
	Memory, ShmSize, PIDs, Weight int64 // Weight is that of the disk, of 10 to 1000
	Ulimits                       []Ulimit
}

// Decision is what comes of requests.
type Decision struct {
	Settings Settings
	Refused  []Refusal
	// Notes tell what makes no difference here, or is granted in part.
	Notes []string
}

// Decide holds requests against a policy. Each stands for itself: what is refused
// takes nothing of the others away.
func Decide(requests []Request, p Policy) Decision {
	var d Decision
	for _, r := range requests {
		note, refused := p.judge(&r)
		switch {
		case refused != nil:
			d.Refused = append(d.Refused, Refusal{r.Argument, refused.why, refused.fix})
			continue
		case note != "":
			d.Notes = append(d.Notes, r.Argument+": "+note)
		}
		d.Settings = add(d.Settings, r.Settings)
	}
	return d
}

// judge decides on one request, and takes from its settings what is not granted.
func (p *Policy) judge(r *Request) (note string, refused *fault) {
	switch r.Kind {
	case KindFree, KindHost:
	case KindIgnored:
		if r.Note != "" {
			note = "has no effect: " + r.Note
		}
	case KindEnv:
		refused = p.env(r.Settings.Env[0])
	case KindMount:
		return p.mount(r)
	case KindTmpfs:
		refused = p.tmpfs(&r.Settings.Mounts[0])
	case KindNetwork:
		refused = p.network(r.Settings.Network)
	case KindPublish:
		if p.Network == NetworkHost {
			return "has no effect: in the network of the host each port is the host's", nil
		}
		refused = &fault{"ports are published in no network of a sandbox", leaveOut}
	case KindGateway:
		return p.gateway(r)
	case KindIPC:
		if !p.Allow.HostIPC {
			refused = &fault{"the shared memory of the host is not allowed", "write --shm-size for more of the task's own, or add host to spec.sandbox.allow.ipc"}
		}
	case KindUlimit:
		refused = p.ulimit(r.Settings.Ulimits[0])
	case KindCapAdd:
		refused = p.capability(r.Settings.CapAdd[0])
	case KindDevice:
		refused = p.device(r.Settings.Devices[0])
	case KindUser:
		if !p.Allow.User {
			refused = &fault{"another user is not allowed", "set spec.sandbox.allow.user"}
		}
	case KindPlatform:
		if !strings.HasPrefix(p.Platform+"/", r.Platform+"/") {
			refused = &fault{"this machine is " + p.Platform, leaveOut}
		}
	case KindShmSize, KindMemory, KindSwap, KindCPUs, KindPIDs, KindWeight:
		refused = p.limit(r)
	default: // KindDenied, and whatever is forgotten here
		refused = &fault{r.Note, r.Fix}
	}
	return note, refused
}

func (p *Policy) env(e Env) *fault {
	switch {
	case !e.FromHost && p.Allow.Env, e.FromHost && slices.Contains(p.Allow.HostEnv, e.Name):
		return nil
	case e.FromHost:
		return &fault{"has no value, and the variables of the agent are not the task's", "write NAME=VALUE, or add the name to spec.sandbox.allow.hostEnv"}
	}
	return &fault{"variables are not allowed", "set spec.sandbox.allow.env"}
}

func (p *Policy) tmpfs(m *Mount) *fault {
	if fault := p.target(m.Target); fault != nil {
		return fault
	}
	switch most := p.Allow.Tmpfs; {
	case most == 0:
		return &fault{"a tmpfs is not allowed", "write the largest to spec.sandbox.allow.tmpfs"}
	case m.Size > most:
		return &fault{"is larger than " + bytes(most), "ask for less, or raise spec.sandbox.allow.tmpfs"}
	case m.Size == 0:
		m.Size = most
	}
	return nil
}

// rank orders networks by how much a task reaches in them.
var rank = map[string]int{NetworkNone: 1, NetworkPrivate: 2, NetworkHost: 3}

func (p *Policy) network(name string) *fault {
	if rank[name] <= rank[p.Network] || slices.Contains(p.Allow.Network, name) {
		return nil
	}
	return &fault{"the network " + name + " is not allowed", "add " + name + " to spec.sandbox.allow.network"}
}

func (p *Policy) gateway(r *Request) (string, *fault) {
	if p.Network != NetworkHost {
		return "", &fault{"the host itself is reached in the network host only", leaveOut}
	}
	r.Settings.Hosts = []Host{{r.Name, loopback}}
	return "", nil
}

func (p *Policy) ulimit(u Ulimit) *fault {
	below := func(asked, limit int64) bool { return limit == Unlimited || asked != Unlimited && asked <= limit }
	if slices.Contains(p.Allow.Ulimits, u.Name) || slices.ContainsFunc(p.Limits.Ulimits, func(l Ulimit) bool {
		return l.Name == u.Name && below(u.Soft, l.Soft) && below(u.Hard, l.Hard)
	}) {
		return nil
	}
	return &fault{"the limit " + u.Name + " is not the task's to set", "add " + u.Name + " to spec.sandbox.allow.ulimits"}
}

func (p *Policy) capability(name string) *fault {
	if name == "ALL" {
		return &fault{"all capabilities are too many", "name those that are needed; no key of spec.sandbox.allow allows all"}
	}
	if slices.Contains(p.Allow.CapAdd, name) {
		return nil
	}
	short := strings.TrimPrefix(name, "CAP_")
	if !slices.Contains(Capabilities, short) {
		return &fault{"is a capability that reaches out of a sandbox", noKey}
	}
	return &fault{"the capability is not allowed", "add " + short + " to spec.sandbox.allow.capAdd"}
}

// Capabilities are those that an operator can allow: what Docker gives, and what
// debuggers and training need. All others reach out of a sandbox, or are good for
// nothing in one.
var Capabilities = []string{
	"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE", "NET_ADMIN", "NET_BIND_SERVICE",
	"NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT", "SYS_NICE", "SYS_PTRACE", "SYS_RESOURCE",
}

// limit refuses more than the worker gives.
func (p *Policy) limit(r *Request) *fault {
	s, l := &r.Settings, p.Limits
	more := func(what, key string) *fault {
		return &fault{"is more than the worker's " + what, "ask for less: a task may only lower it; its key is " + key}
	}
	switch {
	case r.Kind == KindMemory && l.Memory > 0 && s.Memory > l.Memory:
		return more(bytes(l.Memory), "spec.workers[].resources.memory")
	case r.Kind == KindSwap && l.Memory > 0 && (s.MemorySwap < 0 || s.MemorySwap > l.Memory):
		return more(bytes(l.Memory)+" of memory", "spec.workers[].resources.memory")
	case r.Kind == KindCPUs && l.CPUs > 0 && s.CPUs > l.CPUs:
		return more(strconv.FormatFloat(l.CPUs, 'f', -1, 64), "spec.workers[].resources.cpus")
	case r.Kind == KindPIDs && l.PIDs > 0 && (s.PIDs < 0 || s.PIDs > l.PIDs):
		return more(fmt.Sprint(l.PIDs), "spec.workers[].resources.pids")
	case r.Kind == KindWeight && (s.CPUShares > 1024 || s.BlkioWeight > cmp.Or(l.Weight, 500)):
		return &fault{"would take from other tasks", "ask for less: 1024 CPU shares and a disk weight of 500 are usual"}
	case r.Kind == KindShmSize && s.ShmSize > max(l.ShmSize, p.Allow.ShmSize):
		return &fault{"is more than " + bytes(max(l.ShmSize, p.Allow.ShmSize)), "ask for less, or raise spec.sandbox.allow.shmSize"}
	}
	s.PIDs = max(0, s.PIDs)
	return nil
}

func bytes(n int64) string { return units.BytesSize(float64(n)) }
