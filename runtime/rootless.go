package runtime

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/record"
)

// SubIDs is the widest range of users that /etc/subuid gives the agent's user,
// and /etc/subgid of groups, of the same size: what its sandboxes can be of.
func SubIDs() (uids, gids IDRange, err error) {
	names := []string{strconv.Itoa(os.Geteuid())}
	if u, err := user.LookupId(names[0]); err == nil {
		names = append(names, u.Username)
	}
	uids, err = widest("/etc/subuid", names)
	if err == nil {
		gids, err = widest("/etc/subgid", names)
	}
	uids.Size = min(uids.Size, gids.Size)
	gids.Size = uids.Size
	return uids, gids, err
}

func widest(path string, names []string) (r IDRange, err error) {
	f, err := os.Open(path)
	if err != nil {
		return r, fmt.Errorf("cannot find subordinate ids: %w", err)
	}
	defer func() { _ = f.Close() }()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// NAME:FIRST:COUNT, subuid(5)
		field := strings.Split(strings.TrimSpace(lines.Text()), ":")
		if len(field) != 3 || field[0] != names[0] && field[0] != names[len(names)-1] {
			continue
		}
		base, err1 := strconv.Atoi(field[1])
		size, err2 := strconv.Atoi(field[2])
		if errors.Join(err1, err2) == nil && base > 0 && size > r.Size {
			r = IDRange{Base: base, Size: size}
		}
	}
	if r.Size == 0 {
		return r, fmt.Errorf("%s has no line for user %s: add one as root, as with `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 %s`",
			path, names[len(names)-1], names[len(names)-1])
	}
	return r, nil
}

// rootless turns the order of a plain user into what his shim sees in a user
// namespace, in which he is root and the subordinate ids follow.
func rootless(run *record.Run) error {
	sb := *run.Sandbox
	var err error
	if run.Mapped, err = mappingOf(sb.IDs); err != nil {
		return err
	}
	if sb.Network.Mode == NetworkPrivate {
		return errors.New("a private network is not available to an agent that is not root: use none or host")
	}
	if !sb.Shifted {
		return errors.New("an agent that is not root can't map the owners of layers: store them in its range of ids")
	}
	run.Rootless, sb.IDs.Base = true, 1
	run.Sandbox = &sb
	return nil
}

// unmapped has the shim start in a user namespace in which nobody is mapped yet:
// only newuidmap can map more than the user himself, and needs a process for it.
// What is executed as nobody keeps its ambient capabilities only.
func unmapped(sys *syscall.SysProcAttr) error {
	data, err := os.ReadFile("/proc/sys/kernel/cap_last_cap")
	if err != nil {
		return err
	}
	last, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return err
	}
	sys.Cloneflags = syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS
	for c := range uintptr(last + 1) {
		sys.AmbientCaps = append(sys.AmbientCaps, c)
	}
	return nil
}

// mapPatience bounds the run of the two programs, which do little.
const mapPatience = 10 * time.Second

// mapIDs maps the agent's user to root, and his subordinate ids behind it, in the
// user namespace of process pid.
func mapIDs(pid int, m record.Mapping) error {
	ctx, cancel := context.WithTimeout(context.Background(), mapPatience)
	defer cancel()
	for _, way := range []struct {
		program   string
		own, base int
	}{{"newuidmap", os.Geteuid(), m.UID}, {"newgidmap", os.Getegid(), m.GID}} {
		cmd := exec.CommandContext(ctx, findProgram(way.program), strconv.Itoa(pid),
			"0", strconv.Itoa(way.own), "1", "1", strconv.Itoa(way.base), strconv.Itoa(m.Size))
		cmd.Env = []string{"PATH=/usr/bin:/bin"}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("cannot map subordinate ids with %s, %s: %w: %s", way.program, mappingHint(), err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// mappingHint is what mostly keeps those programs from working.
func mappingHint() string {
	if n, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err == nil && n == 1 {
		return "which can do nothing here, since the agent may gain no privileges (NoNewPrivileges=yes of its unit, or a container)"
	}
	return "which Debian has in the package uidmap"
}

// findProgram does not trust the agent's PATH with a program that is set-user-id.
func findProgram(name string) string {
	for _, dir := range []string{"/usr/bin", "/bin", "/usr/local/bin", "/run/wrappers/bin"} {
		if path := filepath.Join(dir, name); exists(path) {
			return path
		}
	}
	return filepath.Join("/usr/bin", name)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
