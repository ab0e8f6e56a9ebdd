package worker

import (
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
