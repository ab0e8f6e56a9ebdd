package dockerargs

import (
	"net/netip"
	"path"
	"slices"
	"strings"
)

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// never are the places of a host of which nothing is mounted, whoever allows it:
// each is a way to the kernel or to a service that rules the host.
var never = []string{"/proc", "/sys", "/dev", "/run", "/var/run", "/boot"}

// reserved are the places of a sandbox that make it one.
var reserved = []string{"/proc", "/sys", "/dev"}

// Within says whether p is folder or below it, component by component, so that
// /data2 is not within /data. Both are clean.
func Within(p, folder string) bool {
	return folder == "/" || p == folder || strings.HasPrefix(p, folder+"/")
}

// overlap says in words which of list p is within, or holds.
func overlap(p string, list ...[]string) (string, bool) {
	for _, place := range slices.Concat(list...) {
		switch place = path.Clean(place); {
		case Within(p, place):
			return place, true
		case Within(place, p):
			return place + ", which is in it,", true
		}
	}
	return "", false
}

// mount grants a folder of the host, read-only where writing is not allowed and was
// not asked for in so many words.
func (p *Policy) mount(r *Request) (note string, refused *fault) {
	m := &r.Settings.Mounts[0]
	if place, bad := overlap(m.Source, never, p.Never); bad {
		return "", &fault{place + " is never mounted", noKey}
	}
	if strings.HasSuffix(m.Source, ".sock") {
		return "", &fault{"a socket of the host is not mounted", noKey}
	}
	if refused = p.target(m.Target); refused != nil {
		return "", refused
	}
	readable, writable := holder(m.Source, p.Allow.Mounts), holder(m.Source, p.Allow.MountsWritable)
	switch {
	case writable != "":
		m.Folder = writable
	case readable == "":
		return "", &fault{plain(m.Source) + " is not below a folder of spec.sandbox.allow.mounts", "add " + plain(m.Source) + " to it"}
	case m.ReadOnly:
		m.Folder = readable
	case r.Writable:
		return "", &fault{plain(m.Source) + " may only be read", "write ro, or add it to spec.sandbox.allow.mountsWritable"}
	default:
		m.Folder, m.ReadOnly = readable, true
		return "may only be read: to write it, it has to be below a folder of spec.sandbox.allow.mountsWritable", nil
	}
	return "", nil
}

// holder is the deepest folder that source is within, "" without one.
func holder(source string, folders []string) (deepest string) {
	for _, folder := range folders {
		if folder = path.Clean(folder); Within(source, folder) && len(folder) > len(deepest) {
			deepest = folder
		}
	}
	return deepest
}

// target refuses places that make the sandbox what it is.
func (p *Policy) target(target string) *fault {
	if place, bad := overlap(target, reserved, p.Reserved); bad {
		return &fault{place + " is not the task's to mount over", "mount it elsewhere"}
	}
	return nil
}

// device grants nodes that were named, never a folder by itself.
func (p *Policy) device(d Device) *fault {
	if slices.Contains([]string{"/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg"}, path.Clean(d.Path)) {
		return &fault{"is the memory of the machine", noKey}
	}
	if holder(path.Clean(d.Path), p.Allow.Devices) == "" {
		return &fault{plain(d.Path) + " is not allowed", "add it to spec.sandbox.allow.devices"}
	}
	return nil
}
