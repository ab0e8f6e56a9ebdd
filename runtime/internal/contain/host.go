package contain

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// groupsDir is the folder for the cgroups of all tasks.
const groupsDir = "agentctl"

// Home is where on this host the cgroups of tasks can stand.
type Home struct {
	// Parent is the folder for the cgroups of tasks.
	Parent string
	// Own is the folder of this process's own cgroup.
	Own string

	delegated bool // Parent lies in a cgroup that was handed to this process
}

// Delegated tells whether the place for cgroups was handed to this process, so that
// a plain user can have limits.
func (h Home) Delegated() bool { return h.delegated }

// Home2 finds the place for cgroups of version 2: below this process's own
// cgroup where that is delegated to it (systemd's Delegate=yes) or it is no
// root; else, for root, beside the others at the top.
func Home2() (Home, error) {
	h, top, err := home(func(typ string, opts []string) bool { return typ == "cgroup2" }, func(c string) bool { return c == "" })
	if err != nil {
		return Home{}, fmt.Errorf("there is no cgroup v2: %w", err)
	}
	if filepath.Base(h.Own) == agentDir && filepath.Dir(h.Own) != top {
		// Delegate was here, or systemd's DelegateSubgroup=.
		h.Parent = filepath.Join(filepath.Dir(h.Own), groupsDir)
	}
	h.delegated = delegated(filepath.Dir(h.Parent)) || os.Geteuid() != 0 && unix.Access(filepath.Dir(h.Parent), unix.W_OK) == nil
	if os.Geteuid() == 0 && !h.delegated {
		h.Parent = filepath.Join(top, groupsDir)
	}
	return h, nil
}

// Home1 finds the place for cgroups of version 1 below the freezer.
func Home1() (Home, error) {
	freezer := func(opts []string) bool { return slices.Contains(opts, "freezer") }
	h, _, err := home(
		func(typ string, opts []string) bool { return typ == "cgroup" && freezer(opts) },
		func(c string) bool { return freezer(strings.Split(c, ",")) })
	if err != nil {
		return Home{}, fmt.Errorf("there is no cgroup v1 freezer: %w", err)
	}
	return h, nil
}

// delegated tells whether systemd handed the cgroup to its unit.
func delegated(dir string) bool {
	for _, attr := range []string{"trusted.delegate", "user.delegate"} {
		var v [8]byte
		if n, err := unix.Getxattr(dir, attr, v[:]); err == nil && string(v[:n]) == "1" {
			return true
		}
	}
	return false
}

// home finds a hierarchy by its mount and by its line in /proc/self/cgroup.
func home(mounted func(typ string, opts []string) bool, line func(controllers string) bool) (Home, string, error) {
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	groups, err2 := os.ReadFile("/proc/self/cgroup")
	if err := errors.Join(err, err2); err != nil {
		return Home{}, "", err
	}
	own, ok := ownGroup(string(groups), line)
	if !ok {
		return Home{}, "", errors.New("the kernel lists none for this process")
	}
	root, top, ok := findMount(string(mounts), mounted)
	if !ok {
		return Home{}, "", errors.New("it is not mounted")
	}
	// In a container the mount shows a part of the hierarchy only.
	rel, err := filepath.Rel(root, own)
	if err != nil || !filepath.IsLocal(rel) {
		rel = "."
	}
	dir := filepath.Join(top, rel)
	return Home{Parent: filepath.Join(dir, groupsDir), Own: dir}, top, nil
}

// ownGroup reads /proc/self/cgroup: lines of ID:controllers:path.
func ownGroup(text string, want func(controllers string) bool) (string, bool) {
	for l := range strings.Lines(text) {
		f := strings.SplitN(strings.TrimSuffix(l, "\n"), ":", 3)
		if len(f) == 3 && want(f[1]) {
			return f[2], true
		}
	}
	return "", false
}

// findMount reads /proc/self/mountinfo (proc(5)): the root within its file
// system and the mount point, before " - "; type and super options behind it.
func findMount(text string, want func(typ string, opts []string) bool) (root, point string, ok bool) {
	for l := range strings.Lines(text) {
		before, after, _ := strings.Cut(strings.TrimSuffix(l, "\n"), " - ")
		b, a := strings.Fields(before), strings.Fields(after)
		if len(b) >= 5 && len(a) >= 3 && want(a[0], strings.Split(a[2], ",")) {
			return unescape(b[3]), unescape(b[4]), true
		}
	}
	return "", "", false
}

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
