package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/record"
)

// node is a device node of the host that is to be shown inside.
type node struct {
	piece
	record.Device
	stat unix.Stat_t
}

// gatherDevices takes the nodes themselves: what is looked at is what is shown.
func (p *parts) gatherDevices(run *record.Run) error {
	for _, d := range run.Sandbox.Devices {
		if d.Access != "rw" && run.Mapped != nil {
			return fmt.Errorf("cannot give the task %s for %q alone: an agent that is not root can't limit the use of a device", d.Path, d.Access)
		}
		// Shown by a mount of its own: nobody makes device nodes in a user namespace.
		n := node{Device: d}
		var err error
		if n.piece, err = clone(d.Path, 0, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOEXEC); err == nil {
			if err = unix.Fstat(n.fd, &n.stat); err == nil {
				err = isDevice(d.Path, n.stat, unix.S_IFCHR, unix.S_IFBLK)
			}
			p.devices = append(p.devices, n)
		}
		if err != nil {
			return fmt.Errorf("cannot give the task a device: %w", err)
		}
	}
	return nil
}

// devices shows device nodes and allows their use.
func (s *stage) devices(spec *specs.Spec, nodes []node) error {
	for i, n := range nodes {
		source := s.at("d", strconv.Itoa(i))
		if err := n.attach(source); err != nil {
			return err
		}
		spec.Mounts = append(spec.Mounts, specs.Mount{Destination: n.At(), Source: source, Type: "bind", Options: []string{"bind", "nosuid", "noexec"}})
		kind, major, minor := "c", int64(unix.Major(n.stat.Rdev)), int64(unix.Minor(n.stat.Rdev))
		if n.stat.Mode&unix.S_IFMT == unix.S_IFBLK {
			kind = "b"
		}
		spec.Linux.Resources.Devices = append(spec.Linux.Resources.Devices, specs.LinuxDeviceCgroup{
			Allow: true, Type: kind, Major: &major, Minor: &minor, Access: n.Access,
		})
	}
	return nil
}

// device looks at a device node, which must be of one of the kinds.
func device(path string, kinds ...uint32) (unix.Stat_t, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return st, &fs.PathError{Op: "use", Path: path, Err: err}
	}
	return st, isDevice(path, st, kinds...)
}

func isDevice(path string, st unix.Stat_t, kinds ...uint32) error {
	for _, k := range kinds {
		if st.Mode&unix.S_IFMT == k {
			return nil
		}
	}
	return &fs.PathError{Op: "use", Path: path, Err: errors.New("it is no device")}
}
