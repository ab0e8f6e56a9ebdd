package main

import (
	"agentctl/runtime"
)

// sandboxes tells whether tasks can run in sandboxes, and what of those is not to
// be had here.
func sandboxes(found runtime.Host) check {
	const name = "sandboxes"
	root := found.UID == 0
	var works, lacks []string
	why := ""
	for _, r := range found.Sandbox {
		switch {
		case r.Works:
			works = append(works, r.Name)
		case r.Name == runtime.SandboxWorks && root:
			return warn(name, "allow user namespaces (sysctl user.max_user_namespaces); until then take mode: venv", "%s", r.Reason)
		case r.Name == runtime.SandboxWorks:
			return warn(name, "run the agent as root, or give its user subordinate ids (package uidmap, usermod --add-subuids) and user namespaces; until then take mode: venv", "%s", r.Reason)
		case r.Name == runtime.SandboxIDMap:
			works = append(works, "layers stored with the ids of sandboxes")
		default: // of the limits, which mostly lack for one reason
			lacks, why = append(lacks, r.Name), r.Reason
		}
	}
	if !root {
		works = append(works, "networks host and none")
	}
	if len(lacks) > 0 {
		fix := "run the agent as a unit of systemd with Delegate=yes (examples/systemd) on cgroup v2, or as root; until then nothing limits tasks"
		if root {
			fix = "give the kernel these controllers; until then leave the limits out"
		}
		return warn(name, fix, "%s; no limits of %s: %s", joined(works), joined(lacks), why)
	}
	return ok(name, "%s", joined(works))
}
