package sandbox

import (
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/record"
)

// pauseName is the program's name when it only holds a user namespace: see runner.c.
const pauseName = "agentctl-shim-pause"

// userNS makes a user namespace of the range, for mounts that map owners to it.
// It lives as long as its descriptor.
func userNS(ids record.IDRange) (*os.File, error) {
	mapping := []syscall.SysProcIDMap{{ContainerID: 0, HostID: ids.Base, Size: ids.Size}}
	p, err := os.StartProcess("/proc/self/exe", []string{pauseName}, &os.ProcAttr{
		Env: []string{}, Files: []*os.File{nil, nil, nil},
		Sys: &syscall.SysProcAttr{
			Cloneflags: syscall.CLONE_NEWUSER, Pdeathsig: syscall.SIGKILL,
			UidMappings: mapping, GidMappings: mapping, GidMappingsEnableSetgroups: true,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("cannot make a user namespace: %w", err)
	}
	ns, err := os.Open("/proc/" + strconv.Itoa(p.Pid) + "/ns/user")
	_ = p.Kill()
	_, _ = p.Wait()
	if err != nil {
		return nil, fmt.Errorf("cannot keep the user namespace: %w", err)
	}
	return ns, nil
}

// mapOwners makes the owners of a detached mount appear in the namespace's range.
func mapOwners(mount int, ns *os.File) error {
	err := unix.MountSetattr(mount, "", unix.AT_EMPTY_PATH, &unix.MountAttr{
		Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns.Fd()),
	})
	if err != nil {
		return fmt.Errorf("cannot map the owners of a mount: %w", err)
	}
	return nil
}
