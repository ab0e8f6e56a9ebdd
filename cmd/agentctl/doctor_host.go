package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"agentctl/internal/quota"
	"agentctl/runtime"
	"agentctl/runtime/shimbin"

	"golang.org/x/sys/unix"
)

// Free space on the disk of the state folder, in bytes.
const (
	diskTight = 5 << 30 // an environment with PyTorch takes about this
	diskFull  = 1 << 30 // what cache.minFree is when left out
)

// checkState looks at the state folder, or at where it would be made.
func (a *app) checkState() []check {
	const name = "state"
	at := a.state
	fi, err := os.Stat(at)
	for errors.Is(err, fs.ErrNotExist) && at != "/" {
		at = filepath.Dir(at)
		fi, err = os.Stat(at)
	}
	if err != nil {
		return []check{fail(name, "choose another with --state", "%v", err)}
	}
	var list []check
	switch there := at == a.state; {
	case unix.Access(at, unix.W_OK) != nil:
		list = append(list, fail(name, "run this as the agent's user, or choose another with --state", "%s can't be written to", at))
	case there && fi.Mode().Perm()&0o022 != 0:
		list = append(list, fail(name, "chmod go-w "+at, "%s can be written to by others (mode %s)", at, fi.Mode().Perm()))
	case there:
		list = append(list, ok(name, "%s, mode %s", at, fi.Mode().Perm()))
	default:
		list = append(list, ok(name, "%s will be made", a.state))
	}
	return append(list, checkDisk(at), checkQuota(at))
}

func checkDisk(at string) check {
	const name, fix = "disk", "free some space, or put the state folder elsewhere with --state"
	var s unix.Statfs_t
	if err := unix.Statfs(at, &s); err != nil {
		return fail(name, fix, "cannot look at the disk of %s: %v", at, err)
	}
	free := int64(s.Bavail) * s.Bsize //nolint:gosec // block counts fit
	switch {
	case s.Flags&unix.ST_NOEXEC != 0:
		return fail(name, "choose a state folder on another file system with --state", "%s is mounted noexec: nothing in an environment can run", at)
	case free < diskFull:
		return fail(name, fix, "%s free at %s", bytesOf(free), at)
	case free < diskTight:
		return warn(name, fix, "%s free at %s", bytesOf(free), at)
	}
	return ok(name, "%s free at %s", bytesOf(free), at)
}

// checkQuota tells whether what tasks write can be limited. Most hosts can't, and only
// spec.sandbox.scratch.size asks for it.
func checkQuota(at string) check {
	const name = "disk limits"
	if err := quota.New(at).Available(); err != nil {
		return ok(name, "none for what tasks of sandboxes write (spec.sandbox.scratch.size): %v", err)
	}
	return ok(name, "by project quotas")
}

// checkUser looks at whom tasks run as that name no user, and whether that user
// can get to the state folder.
func (a *app) checkUser() []check {
	const name = "task user"
	if os.Geteuid() != 0 {
		me := strconv.Itoa(os.Geteuid())
		if u, err := user.Current(); err == nil {
			me = u.Username
		}
		return []check{ok(name, "%s: an agent that is not root runs tasks as itself", me)}
	}
	const create = "make one: useradd --system --home-dir /var/lib/agentctl --shell /usr/sbin/nologin agentctl"
	u, err := user.Lookup("agentctl")
	list := []check{ok(name, "agentctl")}
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return []check{fail(name, create, "there is no user agentctl, and no nobody")}
		}
		list[0] = warn(name, create, "nobody, since there is no user agentctl; others use nobody too")
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return append(list, fail(name, create, "the user %s has no number: %q", u.Username, u.Uid))
	}
	if blocked := blockedAt(a.state, uid); blocked != "" {
		list = append(list, fail("task reach", "chmod o+x "+blocked+", or choose another state folder with --state",
			"%s may not pass through %s to the environments", u.Username, blocked))
	}
	return list
}

// blockedAt is the first folder on the way to path that others than its owner may
// not pass; what is not there yet will be made passable.
func blockedAt(path string, uid int) string {
	blocked := ""
	for dir := path; ; dir = filepath.Dir(dir) {
		if fi, err := os.Stat(dir); err == nil && fi.Mode().Perm()&0o001 == 0 {
			if st, ok := fi.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != uid {
				blocked = dir
			}
		}
		if dir == filepath.Dir(dir) {
			return blocked
		}
	}
}

// checkRuntime tries by which means tasks can be held, each with a small task.
func (a *app) checkRuntime(ctx context.Context) []check {
	const holds, views = "containment", "file view"
	scratch, err := a.scratch()
	if err != nil {
		return []check{fail(holds, "choose another state folder with --state", "%v", err)}
	}
	defer func() { _ = runtime.RemoveAll(scratch) }()
	shim, err := shimbin.Extract(scratch)
	if err != nil {
		return []check{fail(holds, "use a binary that was made with `just build`", "%v", err)}
	}
	found, err := runtime.Probe(ctx, shim, scratch, silent())
	if err != nil {
		return []check{fail(holds, "", "%v", err)}
	}
	list := rungs(holds, found.Containment, map[string]string{
		"":                "run the agent as root, or allow user namespaces",
		runtime.Cgroup1:   "",
		runtime.PIDNS:     "run the agent as a systemd unit with Delegate=yes (examples/systemd)",
		runtime.Subreaper: "run the agent as a systemd unit with Delegate=yes (examples/systemd)",
	})
	list = append(list, sandboxes(found), sandboxNetworks(found))
	return append(list, rungs(views, found.Mounts, map[string]string{
		runtime.MountNone: "allow user namespaces (sysctl kernel.unprivileged_userns_clone=1, or kernel.apparmor_restrict_unprivileged_userns=0), or run the agent as root; until then tasks get copies",
	})...)
}

// rungs tells the best one that works; one for which there is a fix is worth a
// warning, with the reasons against the better ones.
func rungs(name string, list []runtime.Rung, fixes map[string]string) []check {
	var against []string
	for _, r := range list {
		if !r.Works {
			against = append(against, r.Name+": "+r.Reason)
			continue
		}
		detail := r.Name
		if len(against) > 0 {
			detail += " (" + joined(against) + ")"
		}
		if fix := fixes[r.Name]; fix != "" {
			return []check{warn(name, fix, "%s", detail)}
		}
		return []check{ok(name, "%s", detail)}
	}
	return []check{fail(name, fixes[""], "nothing works: %s", joined(against))}
}

// scratch is a folder on the file system of the state folder, on which the means
// depend, or, where that can't be written to, in the temporary folder.
func (a *app) scratch() (string, error) {
	for _, parent := range []string{a.state, filepath.Dir(a.state), os.TempDir()} {
		if dir, err := os.MkdirTemp(parent, ".agentctl-doctor-"); err == nil {
			return dir, os.Chmod(dir, 0o711) //nolint:gosec // tasks of other users pass through it
		}
	}
	return "", fmt.Errorf("cannot make a folder in %s, nor in the temporary folder", a.state)
}
