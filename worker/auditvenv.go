package worker

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"agentctl/runtime"
	"agentctl/spec"

	"github.com/samber/lo"
)

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
	say("processes", "mode", true, "it sees all of the host, and may signal those of %s", id.Name)
	held := p.cfg.Host.BestContainment()
	loose := !slices.Contains([]string{runtime.Cgroup2, runtime.Cgroup1, runtime.PIDNS}, held)
	say("its processes", "", loose, "are all ended with it (%s)%s", held, lo.Ternary(loose, ", as long as its shim lives", ""))
	say("network", "mode", true, "that of the host, with its services on the loopback, its abstract sockets and the metadata addresses of clouds")
	if len(w.HostEnvironment) > 0 {
		say("variables", "hostEnvironment", true, "of the agent's own: %s", strings.Join(w.HostEnvironment, ", "))
	}
	say("limits", "mode", true, "none of memory, processors, processes and disk; resources need mode: sandbox")
	say("preparation", "", agents, "git runs as the agent, without hooks and programs that a repository names; packages are built as %s", id.Name)
	return append(list, p.auditServer()...), nil
}
