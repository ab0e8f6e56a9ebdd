package worker

import (
	"fmt"
	"strings"

	"agentctl/spec"

	"github.com/samber/lo"
)

// auditAllow is what a task may ask for besides.
func auditAllow(w spec.Worker) []Reach {
	var list []Reach
	say := func(key string, risk bool, text string) {
		list = append(list, Reach{What: "may ask for", Key: "sandbox.allow." + key, Risk: risk, Text: text})
	}
	a := w.Sandbox.Allow
	for _, l := range []struct {
		key, what string
		values    []string
	}{
		{"mounts", "folders of the host, to be read:", a.Mounts},
		{"mountsWritable", "folders of the host, to be written:", a.MountsWritable},
		{"devices", "devices", a.Devices},
		{"capAdd", "capabilities", a.CapAdd},
		{"network", "networks", a.Network},
		{"ipc", "shared memory of the", a.IPC},
		{"hostEnv", "variables of the agent:", a.HostEnv},
	} {
		if len(l.values) > 0 {
			say(l.key, true, l.what+" "+strings.Join(l.values, ", "))
		}
	}
	switch {
	case a.Images == nil:
		say("images", false, "any image of a registry")
	case len(a.Images) > 0:
		say("images", lo.Contains(a.Images, spec.ImageHost), "images "+strings.Join(a.Images, ", "))
	}
	if a.ShmSize > w.Sandbox.ShmSize {
		say("shmSize", false, "up to "+size(int64(a.ShmSize))+" of shared memory")
	}
	if a.Tmpfs > 0 {
		say("tmpfs", false, "folders in memory, up to "+size(int64(a.Tmpfs))+" each")
	}
	if len(a.Ulimits) > 0 {
		say("ulimits", false, "higher limits of "+strings.Join(a.Ulimits, ", "))
	}
	if a.User {
		say("user", false, "another user and further groups inside")
	}
	if len(a.AptPackages) > 0 {
		say("aptPackages", false, "Debian packages: "+strings.Join(a.AptPackages, ", "))
	}
	if w.Sandbox.OnDenied == spec.OnDeniedDrop {
		list = append(list, Reach{What: "may ask for", Key: "sandbox.onDenied", Text: "all else, which is dropped with a warning"})
	}
	return list
}

// auditRules is what tasks get besides that a rule fits.
func auditRules(w spec.Worker) []Reach {
	var list []Reach
	for i, rule := range w.Sandbox.Rules {
		a := rule.Arguments
		var gets []string
		for _, m := range a.Mounts {
			gets = append(gets, m.Source+" of the host, to be "+lo.Ternary(m.Writable, "written", "read"))
		}
		for _, l := range []struct {
			what   string
			values []string
		}{{"devices", a.Devices}, {"capabilities", a.CapAdd}, {"variables of the agent:", a.HostEnv}, {"groups", a.Groups}} {
			if len(l.values) > 0 {
				gets = append(gets, l.what+" "+strings.Join(l.values, ", "))
			}
		}
		if a.IPC == spec.IPCHost {
			gets = append(gets, "shared memory of the host")
		}
		if rule.Image != "" {
			gets = append(gets, "the image "+rule.Image)
		}
		writes := lo.ContainsBy(a.Mounts, func(m spec.HostMount) bool { return m.Writable })
		risk := writes || len(a.Devices)+len(a.CapAdd)+len(a.HostEnv) > 0 || a.IPC != "" || rule.Image == spec.ImageHost
		if len(gets) > 0 {
			list = append(list, Reach{What: "by a rule", Key: fmt.Sprintf("sandbox.rules[%d]", i), Risk: risk, Text: strings.Join(gets, "; ")})
		}
	}
	return list
}
