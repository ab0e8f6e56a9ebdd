package worker

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"agentctl/runtime"
	"agentctl/runtime/dockerargs"
	"agentctl/spec"

	"github.com/samber/lo"
)

// abilities are what a host lacks for sandboxes; what is nil works.
type abilities struct {
	metadata, private, sockets, disk error
}

func (p *Pool) abilities() abilities {
	return abilities{runtime.MetadataFilter(), runtime.PrivateNetworks(), runtime.AbstractSockets(), p.quotas.Available()}
}

// auditor collects what a sandbox reaches.
type auditor struct {
	host  runtime.Host
	lacks abilities
	w     spec.Worker
	c     container
	ids   runtime.IDRange
	list  []Reach
}

func (a *auditor) say(what, key string, risk bool, format string, args ...any) {
	a.list = append(a.list, Reach{What: what, Key: key, Risk: risk, Text: fmt.Sprintf(format, args...)})
}

func (a *auditor) identity() {
	s := a.c.Settings
	box := runtime.Sandbox{HostIPC: s.HostIPC, Network: runtime.Network{Mode: cmp.Or(s.Network, spec.NetworkHost)}}
	if r, ok := lo.Find(a.host.Sandbox, func(r runtime.Rung) bool { return r.Name == runtime.SandboxWorks }); ok && !r.Works {
		a.say("sandbox", "mode", true, "tasks fail, since this host has none: %s", r.Reason)
	}
	a.say("image", "image", a.c.Image == spec.ImageHost, "%s", lo.Ternary(a.c.Image == spec.ImageHost,
		"the host's own files, read-only, but for /root, /home, /run and the temporary folders", a.c.Image))
	a.say("user", "sandbox.ids", false, "%s inside, which is an id of %d to %d on the host: nobody there", cmp.Or(s.User, lo.Ternary(a.c.Image == spec.ImageHost, "root", "the image's user")), a.ids.Base, a.ids.Base+a.ids.Size-1)
	if len(s.Groups) > 0 {
		a.say("groups", "sandbox.arguments.groups", false, "%s inside as well", strings.Join(s.Groups, ", "))
	}
	a.say("capabilities", "sandbox.arguments.capAdd", len(s.CapAdd) > 0, "%s; no program gains more (no_new_privs)", cmp.Or(strings.Join(s.CapAdd, ", "), "none"))
	a.say("system calls", "", false, "those that moby's default profile lets a process with these capabilities make")
	a.say("namespaces", "", false, "%s of its own", strings.Join(box.Namespaces(), ", "))
	a.say("processes", "", false, "its own; those of the host and of other tasks don't exist for it")
	a.say("shared memory", "sandbox.arguments.ipc", s.HostIPC, "%s", lo.Ternary(s.HostIPC, "the host's, with all System V objects", "its own, "+size(s.ShmSize)))
}

func (a *auditor) files() {
	s := a.c.Settings
	a.say("agent's files", "", false, "its environment and its checkout, in layers of its own; nothing else of the agent's state, and not its socket")
	for _, m := range s.Mounts {
		if m.Source == "" {
			a.say("mount", "sandbox.arguments.tmpfs", false, "%s in memory, %s", m.Target, size(m.Size))
			continue
		}
		a.say("mount", "sandbox.arguments.mounts", !m.ReadOnly, "%s of the host as %s, %s", m.Source, m.Target, lo.Ternary(m.ReadOnly, "read-only", "writable"))
	}
	a.say("kernel's files", "", false, "of /proc and /sys what runc's default masks is hidden, /sys is read-only")
	a.say("devices", "", false, "null, zero, full, random, urandom, tty and a terminal of its own")
	for _, d := range s.Devices {
		a.say("devices", "sandbox.arguments.devices", true, "%s of the host as %s (%s)", d.Path, d.InContainer, d.Permissions)
	}
	if names := lo.FilterMap(s.Env, func(e dockerargs.Env, _ int) (string, bool) { return e.Name, e.FromHost }); len(names) > 0 {
		a.say("variables", "sandbox.arguments.hostEnv", true, "of the agent's own: %s", strings.Join(names, ", "))
	}
}

func (a *auditor) network() {
	mode := cmp.Or(a.c.Settings.Network, spec.NetworkHost)
	blocked, open := a.metadata(mode)
	switch mode {
	case spec.NetworkHost:
		a.say("network", "sandbox.network", true, "that of the host, with its services on the loopback; %s", blocked)
		if a.lacks.sockets != nil {
			a.say("abstract sockets", "sandbox.network", true, "those of the host: %v", a.lacks.sockets)
		} else {
			a.say("abstract sockets", "", false, "its own alone, by Landlock")
		}
	case spec.NetworkPrivate:
		if a.lacks.private != nil {
			a.say("network", "sandbox.network", true, "tasks fail: %v", a.lacks.private)
			break
		}
		ports := a.w.Sandbox.HostPorts
		a.say("network", "sandbox.network", open, "a network of its own with a way out; no other sandbox; %s", blocked)
		a.say("host's services", "sandbox.hostPorts", len(ports) > 0, "%s", lo.Ternary(len(ports) == 0, "none but the task's server", "TCP "+joinedInts(ports)))
	default:
		a.say("network", "sandbox.network", false, "none but its own loopback, where its ClearML server answers")
	}
	if build := cmp.Or(a.w.Sandbox.BuildNetwork, spec.NetworkHost); build != mode {
		a.say("network of builds", "sandbox.buildNetwork", build == spec.NetworkHost, "%s, while its environment is built", build)
	}
}

// preparation is what runs for a task before it does. The git of a repository that only
// the agent reaches runs as the agent.
func (a *auditor) preparation() {
	const hard = "git runs as the agent, without hooks and programs that a repository names"
	if os.Geteuid() != 0 {
		a.say("preparation", "", true, "packages are built inside its image; %s", hard)
		return
	}
	a.say("preparation", "", false, "packages are built inside its image, git fetches in a sandbox; by ssh, or from a path of the host, %s", hard)
}

// metadata tells whether metadata addresses are reached, and why.
func (a *auditor) metadata(mode string) (text string, open bool) {
	switch {
	case a.w.Sandbox.Metadata:
		return "metadata addresses of clouds as well (sandbox.metadata)", true
	case mode == spec.NetworkHost && os.Geteuid() != 0:
		return "metadata addresses of clouds as well: only an agent that is root can refuse them", true
	case mode == spec.NetworkHost && a.lacks.metadata != nil:
		return fmt.Sprintf("metadata addresses of clouds as well: %v", a.lacks.metadata), true
	}
	return "metadata addresses of clouds are refused", false
}

// limits are told with whether this host can hold them.
func (a *auditor) limits() {
	s := a.c.Settings
	for _, l := range []struct {
		what, key, rung, value string
		optional               bool
	}{
		{"memory", "resources.memory", runtime.SandboxMemory, lo.Ternary(s.Memory > 0, size(s.Memory), ""), false},
		{"processors", "resources.cpus", runtime.SandboxCPU, lo.Ternary(s.CPUs > 0, fmt.Sprint(s.CPUs), ""), false},
		{"processors", "resources.cpus", runtime.SandboxCPUSet, lo.Ternary(s.CPUSet != "", "those of "+s.CPUSet, ""), true},
		{"processes", "resources.pids", runtime.SandboxPIDs, lo.Ternary(s.PIDs > 0, fmt.Sprint(s.PIDs), ""), false},
		{"input and output", "resources.ioWeight", runtime.SandboxIO, lo.Ternary(s.BlkioWeight > 0, fmt.Sprintf("weight %d", s.BlkioWeight), ""), true},
	} {
		works := slices.ContainsFunc(a.host.Sandbox, func(r runtime.Rung) bool { return r.Name == l.rung && r.Works })
		switch {
		case l.value == "" && l.optional:
		case l.value == "":
			a.say(l.what, l.key, true, "no limit")
		case !works:
			a.say(l.what, l.key, true, "%s, which this host can't hold: see agentctl doctor", l.value)
		default:
			a.say(l.what, l.key, false, "%s", l.value)
		}
	}
	for _, u := range s.Ulimits {
		a.say("limit of each process", "sandbox.ulimits", false, "%s %d to %d (-1 is none)", u.Name, u.Soft, u.Hard)
	}
	switch scratch := a.w.Sandbox.Scratch; {
	case scratch.Size == 0:
		a.say("disk", "sandbox.scratch.size", true, "no limit for what it writes")
	case a.lacks.disk != nil:
		a.say("disk", "sandbox.scratch.size", true, "%s, which this host can't hold on the disk: %v", size(int64(scratch.Size)), a.lacks.disk)
	default:
		a.say("disk", "sandbox.scratch.size", false, "%s, over the image in %s", size(int64(scratch.Size)), cmp.Or(scratch.Medium, spec.MediumDisk))
	}
}
