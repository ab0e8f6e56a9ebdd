package migrate

import (
	"fmt"
	"strings"

	"agentctl/runtime/dockerargs"
	"agentctl/spec"

	"github.com/samber/lo"
)

const sandboxArguments = "spec.sandbox.arguments"

// dockerArguments makes fields of the arguments that an operator gives all containers.
// What has no field is told; the rest counts.
func dockerArguments(t *translation, v any) error {
	words, err := wordsOf(v)
	if err != nil {
		return err
	}
	if len(words) == 1 && strings.Contains(words[0], " ") { // one text in a list
		if words, err = wordsOf(words[0]); err != nil {
			return err
		}
	}
	requests, refusals := dockerargs.ParseWords(words)
	lost := lo.Map(refusals, func(r dockerargs.Refusal, _ int) string { return r.String() })
	carried, silent := 0, 0
	for _, r := range requests {
		before := tree(clone(map[string]any(t.tree)).(map[string]any))
		err := t.argument(r)
		if err == nil {
			err = t.valid(t.tree)
		}
		switch {
		case err != nil:
			t.tree = before
			lost = append(lost, r.Argument+": "+err.Error())
		case r.Kind == dockerargs.KindIgnored:
			silent++
			if r.Note != "" {
				t.say(r.Argument + " makes no difference here: " + r.Note)
			}
		default:
			carried++
		}
	}
	switch {
	case len(lost) > 0 && carried == 0:
		return refuse("%s", strings.Join(lost, "; "))
	case len(lost) > 0:
		t.say("not carried over: " + strings.Join(lost, "; "))
	case carried == 0 && silent > 0:
		return nothing("its arguments make no difference here")
	}
	return nil
}

// argument sets the field of what one argument asks for.
func (t *translation) argument(r dockerargs.Request) error {
	s := r.Settings
	switch r.Kind {
	case dockerargs.KindIgnored:
		return nil
	case dockerargs.KindDenied:
		return refuse("%s", strings.Trim(r.Note+"; "+r.Fix, "; "))
	case dockerargs.KindEnv:
		return t.containerVariable(s.Env[0])
	case dockerargs.KindMount:
		return t.mount(s.Mounts[0])
	case dockerargs.KindTmpfs:
		if s.Mounts[0].Size == 0 {
			return refuse("write its size, as --tmpfs=/scratch:size=4g")
		}
		t.tree.put(sandboxArguments+".tmpfs", s.Mounts[0].Target, spec.Size(s.Mounts[0].Size).String())
	case dockerargs.KindShmSize:
		t.tree.set("spec.sandbox.shmSize", s.ShmSize)
	case dockerargs.KindNetwork:
		t.tree.set("spec.sandbox.network", s.Network)
	case dockerargs.KindIPC:
		if s.HostIPC {
			t.tree.set(sandboxArguments+".ipc", spec.IPCHost)
		}
	case dockerargs.KindUlimit:
		u := s.Ulimits[0]
		t.tree.put("spec.sandbox.ulimits", u.Name, ulimit(u.Soft)+":"+ulimit(u.Hard))
	case dockerargs.KindHost:
		t.tree.put(sandboxArguments+".hosts", s.Hosts[0].Name, s.Hosts[0].Addr.String())
	case dockerargs.KindCapAdd:
		t.tree.add(sandboxArguments+".capAdd", lo.Map(s.CapAdd, func(c string, _ int) string { return strings.TrimPrefix(c, "CAP_") })...)
	case dockerargs.KindDevice:
		d := s.Devices[0]
		t.tree.add(sandboxArguments+".devices", d.Path+":"+d.InContainer+":"+d.Permissions)
	case dockerargs.KindUser:
		t.tree.add(sandboxArguments+".groups", s.Groups...)
		if s.User != "" {
			t.tree.set(sandboxArguments+".user", s.User)
		}
	case dockerargs.KindMemory:
		return t.resource("memory", s.Memory)
	case dockerargs.KindCPUs:
		return t.resource("cpus", s.CPUs)
	case dockerargs.KindPIDs:
		return t.resource("pids", s.PIDs)
	case dockerargs.KindWeight:
		if s.BlkioWeight == 0 {
			return refuse("shares of processors have no field: write cpus into resources")
		}
		return t.resource("ioWeight", s.BlkioWeight)
	case dockerargs.KindFree:
		return t.free(s)
	case dockerargs.KindPublish:
		return refuse("no port is mapped: with sandbox.network: host a task listens at the machine's own")
	case dockerargs.KindGateway:
		return refuse("the machine has no address of its own for containers: write it into sandbox.arguments.hosts")
	default:
		return refuse("it has no field")
	}
	return nil
}

func (t *translation) resource(name string, v any) error {
	if t.patch {
		return refuse("it is a limit of workers: write it into their resources")
	}
	t.tree.set("spec.workers[].resources."+name, v)
	return nil
}

// free are settings that concern nobody but the task.
func (t *translation) free(s dockerargs.Settings) error {
	for _, a := range s.DNS {
		t.tree.add(sandboxArguments+".dns", a.String())
	}
	t.tree.add(sandboxArguments+".dnsSearch", s.DNSSearch...)
	t.tree.add(sandboxArguments+".dnsOptions", s.DNSOptions...)
	if len(s.DNS)+len(s.DNSSearch)+len(s.DNSOptions) == 0 {
		return refuse("only a task can ask for it")
	}
	return nil
}

func (t *translation) containerVariable(e dockerargs.Env) error {
	if e.FromHost {
		t.tree.add(sandboxArguments+".hostEnv", e.Name)
		return nil
	}
	return t.variable(sandboxArguments+".env", sandboxArguments+".hostEnv", e.Name, e.Value)
}

// mount may be written, as in Docker, unless it says ro. One of a target that is there replaces it.
func (t *translation) mount(m dockerargs.Mount) error {
	mount := map[string]any{"source": m.Source, "target": m.Target, "writable": !m.ReadOnly}
	list, _ := t.tree.get(sandboxArguments + ".mounts").([]any)
	list = lo.Reject(list, func(e any, _ int) bool { return e.(map[string]any)["target"] == m.Target })
	t.tree.set(sandboxArguments+".mounts", append(list, mount))
	return nil
}

func ulimit(n int64) string {
	if n == dockerargs.Unlimited {
		return "unlimited"
	}
	return fmt.Sprint(n)
}
