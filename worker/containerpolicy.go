package worker

import (
	"maps"
	"net/netip"
	goruntime "runtime"
	"slices"
	"strconv"
	"strings"

	"agentctl/runtime/dockerargs"
	"agentctl/spec"

	"github.com/samber/lo"
)

// places are those of the agent, on the host and in sandboxes: no task mounts them
// or over them.
type places struct{ never, reserved []string }

// policyOf is what tasks of a worker may ask for.
func policyOf(w spec.Worker, p places) dockerargs.Policy {
	s, r := w.Sandbox, w.Resources
	a := s.Allow
	return dockerargs.Policy{
		Allow: dockerargs.Allow{
			Env: a.Env != nil && *a.Env, HostEnv: a.HostEnv,
			ShmSize: int64(a.ShmSize), Tmpfs: int64(a.Tmpfs),
			Mounts: a.Mounts, MountsWritable: a.MountsWritable,
			Network: a.Network, HostIPC: slices.Contains(a.IPC, spec.IPCHost),
			Ulimits: a.Ulimits, CapAdd: capabilities(a.CapAdd), Devices: a.Devices, User: a.User,
		},
		Limits: dockerargs.Limits{
			CPUs: r.CPUs, Memory: int64(r.Memory), ShmSize: int64(s.ShmSize), PIDs: int64(r.PIDs), Weight: int64(r.IOWeight),
			Ulimits: ulimits(s.Ulimits),
		},
		Network:  s.Network,
		Platform: goruntime.GOOS + "/" + goruntime.GOARCH,
		Never:    p.never, Reserved: p.reserved,
	}
}

// settingsOf is what a worker gives each of its tasks. What is in it was written by
// the operator, and checked as it was read.
func settingsOf(w spec.Worker) dockerargs.Settings {
	s, out := w.Sandbox, argumentsOf(w.Sandbox.Arguments)
	out.Env = append(out.Env, workerVariables(w)...)
	out.ShmSize, out.Network, out.Ulimits = int64(s.ShmSize), s.Network, ulimits(s.Ulimits)
	out.Memory, out.CPUs = int64(w.Resources.Memory), w.Resources.CPUs
	out.PIDs, out.BlkioWeight = int64(w.Resources.PIDs), int64(w.Resources.IOWeight)
	return out
}

func argumentsOf(a spec.Arguments) dockerargs.Settings {
	out := dockerargs.Settings{
		HostIPC: a.IPC == spec.IPCHost, DNSSearch: a.DNSSearch, DNSOptions: a.DNSOptions, CapAdd: capabilities(a.CapAdd),
		User: a.User, Groups: a.Groups, Env: envOf(a.Env, a.HostEnv),
	}
	for _, m := range a.Mounts {
		out.Mounts = append(out.Mounts, dockerargs.Mount{Source: m.Source, Folder: m.Source, Target: m.Target, ReadOnly: !m.Writable})
	}
	for _, target := range slices.Sorted(maps.Keys(a.Tmpfs)) {
		size, _ := spec.ParseSize(a.Tmpfs[target])
		out.Mounts = append(out.Mounts, dockerargs.Mount{Target: target, Size: int64(size)})
	}
	for _, device := range a.Devices {
		out.Devices = append(out.Devices, deviceOf(device))
	}
	for _, name := range slices.Sorted(maps.Keys(a.Hosts)) {
		if addr, err := netip.ParseAddr(a.Hosts[name]); err == nil {
			out.Hosts = append(out.Hosts, dockerargs.Host{Name: name, Addr: addr})
		}
	}
	for _, server := range a.DNS {
		if addr, err := netip.ParseAddr(server); err == nil {
			out.DNS = append(out.DNS, addr)
		}
	}
	return out
}

// capabilities are names as the kernel has them.
func capabilities(names []string) []string {
	return lo.Map(names, func(name string, _ int) string { return "CAP_" + name })
}

// ulimits reads `name: soft:hard`, sorted by name.
func ulimits(values map[string]string) []dockerargs.Ulimit {
	number := func(text string) int64 {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil { // unlimited
			return dockerargs.Unlimited
		}
		return n
	}
	return lo.Map(slices.Sorted(maps.Keys(values)), func(name string, _ int) dockerargs.Ulimit {
		soft, hard, two := strings.Cut(values[name], ":")
		if !two {
			hard = soft
		}
		return dockerargs.Ulimit{Name: name, Soft: number(soft), Hard: number(hard)}
	})
}

// deviceOf reads PATH[:PATH][:rw].
func deviceOf(text string) dockerargs.Device {
	d := dockerargs.Device{Permissions: "rw"}
	for i, part := range strings.Split(text, ":") {
		switch {
		case i == 0:
			d.Path, d.InContainer = part, part
		case strings.HasPrefix(part, "/"):
			d.InContainer = part
		default:
			d.Permissions = part
		}
	}
	return d
}

// variables are those of settings as KEY=VALUE, the agent's own looked up. Of one
// name the last counts.
func variables(settings dockerargs.Settings, lookup func(string) (string, bool)) []string {
	values := map[string]string{}
	for _, e := range settings.Env {
		value, ok := e.Value, true
		if e.FromHost {
			value, ok = lookup(e.Name)
		}
		if ok {
			values[e.Name] = value
		}
	}
	return lo.Map(slices.Sorted(maps.Keys(values)), func(name string, _ int) string { return name + "=" + values[name] })
}
