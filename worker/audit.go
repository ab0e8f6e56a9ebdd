package worker

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	"agentctl/clearml"
	"agentctl/reconcile"
	"agentctl/runtime"
	"agentctl/spec"

	"github.com/dustin/go-humanize"
	"github.com/samber/lo"
)

// Reach is one thing that a task of a worker can reach, or can't.
type Reach struct {
	// What it is about: "user", "network", ….
	What string
	Text string
	// Risk says that a task can do more by it than run in a box of its own.
	Risk bool
	// Key is what changes it in node.yaml, "" if nothing does.
	Key string
}

// Audit tells what a task of a worker can reach, from the settings that its sandbox or
// its process is made of and from what this host can do.
func (p *Pool) Audit(w spec.Worker) ([]Reach, error) {
	if w.Mode != spec.ModeSandbox {
		return p.auditVenv(w)
	}
	return p.auditSandbox(w)
}

// AuditTask is Audit with the settings that a running task was leased with, and what it
// asks for itself.
func (p *Pool) AuditTask(id string) ([]Reach, error) {
	r := p.find(id)
	if r == nil {
		return nil, fmt.Errorf("cannot tell what the task %s reaches: it does not run on this node", id)
	}
	r.mu.Lock()
	w, task := r.rec.Worker, r.task
	r.mu.Unlock()
	if w.Mode != spec.ModeSandbox || task == nil {
		return p.Audit(w)
	}
	return p.auditContainer(w, task)
}

func (p *Pool) auditSandbox(w spec.Worker) ([]Reach, error) {
	list, err := p.auditContainer(w, &clearml.Task{})
	return append(list, auditAllow(w)...), err
}

// auditContainer is of what t runs in on w, which is decided as for a run.
func (p *Pool) auditContainer(w spec.Worker, t *clearml.Task) ([]Reach, error) {
	ids, err := IDRange(p.cfg.State, w.Sandbox.IDs)
	if err != nil {
		return nil, err
	}
	own := append([]string{p.cfg.State}, p.cfg.Hide...)
	c, err := containerOf(t, w, places{never: own, reserved: own})
	if err != nil {
		return nil, err
	}
	a := auditor{host: p.cfg.Host, w: w, c: c, ids: ids}
	a.identity()
	a.files()
	a.devices()
	a.network()
	a.limits()
	return append(a.list, p.auditServer()...), nil
}

// auditor collects what a sandbox reaches.
type auditor struct {
	host runtime.Host
	w    spec.Worker
	c    container
	ids  runtime.IDRange
	list []Reach
}

func (a *auditor) say(what, key string, risk bool, format string, args ...any) {
	a.list = append(a.list, Reach{What: what, Key: key, Risk: risk, Text: fmt.Sprintf(format, args...)})
}

func (a *auditor) identity() {
	s := a.c.Settings
	a.say("image", "image", a.c.Image == spec.ImageHost, "%s", lo.Ternary(a.c.Image == spec.ImageHost,
		"the host's own files, read-only, but for /root, /home, /run and the temporary folders", a.c.Image))
	a.say("user", "sandbox.ids", false, "%s inside, which is an id of %d to %d on the host: nobody there", cmp.Or(s.User, "the image's user"), a.ids.Base, a.ids.Base+a.ids.Size-1)
	a.say("capabilities", "sandbox.arguments.capAdd", len(s.CapAdd) > 0, "%s; no program gains more (no_new_privs)", cmp.Or(strings.Join(s.CapAdd, ", "), "none"))
	a.say("system calls", "", false, "those that moby's default profile lets a process without capabilities make")
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
}

func (a *auditor) devices() {
	a.say("devices", "", false, "null, zero, full, random, urandom, tty and a terminal of its own")
	for _, d := range a.c.Settings.Devices {
		a.say("devices", "sandbox.arguments.devices", true, "%s of the host as %s (%s)", d.Path, d.InContainer, d.Permissions)
	}
}

func (a *auditor) network() {
	mode := cmp.Or(a.c.Settings.Network, spec.NetworkHost)
	blocked := "metadata addresses of clouds are refused"
	open := a.w.Sandbox.Metadata
	switch {
	case open:
		blocked = "metadata addresses of clouds as well"
	case os.Geteuid() != 0 && mode == spec.NetworkHost:
		open, blocked = true, "metadata addresses of clouds as well: only an agent that is root can refuse them"
	}
	switch mode {
	case spec.NetworkHost:
		a.say("network", "sandbox.network", true, "that of the host, with its services on the loopback; %s", blocked)
		if err := runtime.AbstractSockets(); err != nil {
			a.say("abstract sockets", "sandbox.network", true, "those of the host: %v", err)
		} else {
			a.say("abstract sockets", "", false, "its own alone, by Landlock")
		}
	case spec.NetworkPrivate:
		a.say("network", "sandbox.network", open, "a network of its own with a way out; no other sandbox; %s", blocked)
		a.say("host's services", "sandbox.hostPorts", len(a.w.Sandbox.HostPorts) > 0, "%s", lo.Ternary(len(a.w.Sandbox.HostPorts) == 0, "none but the task's server", "TCP "+joinedInts(a.w.Sandbox.HostPorts)))
	default:
		a.say("network", "sandbox.network", false, "none but its own loopback, where its ClearML server answers")
	}
}

// limits are told with whether this host can hold them.
func (a *auditor) limits() {
	s := a.c.Settings
	for _, l := range []struct {
		what, key, rung, value string
	}{
		{"memory", "resources.memory", runtime.SandboxMemory, lo.Ternary(s.Memory > 0, size(s.Memory), "")},
		{"processors", "resources.cpus", runtime.SandboxCPU, lo.Ternary(s.CPUs > 0, fmt.Sprint(s.CPUs), "")},
		{"processes", "resources.pids", runtime.SandboxPIDs, lo.Ternary(s.PIDs > 0, fmt.Sprint(s.PIDs), "")},
	} {
		works := slices.ContainsFunc(a.host.Sandbox, func(r runtime.Rung) bool { return r.Name == l.rung && r.Works })
		switch {
		case l.value == "":
			a.say(l.what, l.key, true, "no limit")
		case !works:
			a.say(l.what, l.key, true, "%s, which this host can't hold: see agentctl doctor", l.value)
		default:
			a.say(l.what, l.key, false, "%s", l.value)
		}
	}
	scratch := a.w.Sandbox.Scratch
	a.say("disk", "sandbox.scratch", scratch.Size == 0, "%s", lo.Ternary(scratch.Size == 0, "no limit for what it writes", fmt.Sprintf("%s, %s", size(int64(scratch.Size)), scratch.Medium)))
}

// auditAllow is what a task may ask for besides.
func auditAllow(w spec.Worker) []Reach {
	var list []Reach
	say := func(key, what string, values []string) {
		if len(values) > 0 {
			list = append(list, Reach{What: "may ask for", Key: "sandbox.allow." + key, Risk: true, Text: what + " " + strings.Join(values, ", ")})
		}
	}
	a := w.Sandbox.Allow
	say("mounts", "folders of the host, to be read:", a.Mounts)
	say("mountsWritable", "folders of the host, to be written:", a.MountsWritable)
	say("devices", "devices", a.Devices)
	say("capAdd", "capabilities", a.CapAdd)
	say("network", "networks", a.Network)
	say("ipc", "shared memory of the", a.IPC)
	say("hostEnv", "variables of the agent:", a.HostEnv)
	if a.Images == nil {
		list = append(list, Reach{What: "may ask for", Key: "sandbox.allow.images", Text: "any image of a registry"})
	}
	return list
}

// auditVenv is of a task that is a process of the host.
func (p *Pool) auditVenv(w spec.Worker) ([]Reach, error) {
	id, err := resolveUser(w.RunAs)
	if err != nil {
		return nil, err
	}
	var list []Reach
	say := func(what, key string, risk bool, format string, args ...any) {
		list = append(list, Reach{What: what, Key: key, Risk: risk, Text: fmt.Sprintf(format, args...)})
	}
	agents := id.UID < 0 || id.UID == os.Geteuid()
	say("user", "runAs", agents, "%s of the host%s", id.Name, lo.Ternary(agents, ", which is the agent's own: a task can do to the agent what it likes", ""))
	say("capabilities", "", id.UID == 0, "%s", lo.Ternary(id.UID == 0, "all: it is root", "none"))
	view := p.cfg.Host.MountNS(id.UID)
	say("files", "mode", true, "what %s may read and write on the host", id.Name)
	say("agent's files", "", view == runtime.MountNone, "%s", lo.Ternary(view == runtime.MountNone,
		"its environment as a copy, and of the agent's state what its modes let through", "its environment and its checkout, in layers of its own; the rest of the agent's state is covered ("+view+")"))
	held := p.cfg.Host.BestContainment()
	say("processes", "mode", true, "it sees all of the host, and may signal those of %s; its own are all ended with it (%s)", id.Name, held)
	say("network", "mode", true, "that of the host, with its services on the loopback and the metadata addresses of clouds")
	say("limits", "mode", true, "none of memory, processors, processes and disk; resources need mode: sandbox")
	return append(list, p.auditServer()...), nil
}

// auditServer is what the task's token can do on the server.
func (p *Pool) auditServer() []Reach {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.node == nil || p.node.Spec.Server.URL == "" {
		return []Reach{{What: "server", Text: "its own task, by a token for this task alone, of the embedded server"}}
	}
	return []Reach{{What: "server", Key: "server.credentialsFile", Risk: true, Text: "all that the user of spec.server.credentialsFile may, by a token with an end: a ClearML Server has none for a task alone"}}
}

// Audited are the workers of a snapshot that differ in what their tasks reach: the first
// of each group.
func Audited(s *reconcile.Snapshot) []spec.Worker {
	return lo.UniqBy(lo.Map(s.Workers, func(w reconcile.WorkerStatus, _ int) spec.Worker { return w.Spec }), func(w spec.Worker) string { return w.Group })
}

func size(n int64) string {
	return strings.ReplaceAll(humanize.IBytes(uint64(max(n, 0))), " ", "")
}

func joinedInts(list []int) string {
	return strings.Join(lo.Map(list, func(n, _ int) string { return fmt.Sprint(n) }), ", ")
}
