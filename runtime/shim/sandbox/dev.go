package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path"
	"slices"

	"github.com/opencontainers/runc/libcontainer/specconv"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/record"
)

// usualNode is a device node that each sandbox has.
type usualNode struct {
	piece
	path string
}

// gatherUsual takes the nodes that libcontainer gives to each container.
func (p *parts) gatherUsual(*record.Run) error {
	for _, d := range specconv.AllowedDevices {
		// ptmx is that of the sandbox's own devpts; without a path it is only a rule.
		if d.Path == "" || d.Path == "/dev/ptmx" {
			continue
		}
		node, err := clone(d.Path, follow, 0)
		if err != nil {
			return fmt.Errorf("cannot give the task the usual devices: %w", err)
		}
		p.usual = append(p.usual, usualNode{node, d.Path})
	}
	return nil
}

// links are in each /dev, as libcontainer makes them.
var links = map[string]string{
	"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	"ptmx": "pts/ptmx", "core": "/proc/kcore",
}

// dev makes /dev on the stage, with the runner in it: libcontainer, which takes it as it
// is, would look up each of its files anew in the sandbox, two milliseconds in all.
func (s *stage) dev(spec *specs.Spec, p *parts) error {
	i := slices.IndexFunc(spec.Mounts, func(m specs.Mount) bool { return m.Destination == "/dev" })
	if i < 0 {
		return errors.New("there is none")
	}
	if err := os.Mkdir(s.at("dev"), 0o755); err != nil {
		return err
	}
	base := s.run.Sandbox.IDs.Base
	data := fmt.Sprintf("mode=755,size=65536k,uid=%d,gid=%d", base, base)
	if err := unix.Mount("tmpfs", s.at("dev"), "tmpfs", unix.MS_NOSUID|unix.MS_STRICTATIME, data); err != nil {
		return err
	}
	for _, n := range p.usual {
		if err := n.attach(s.at("dev", path.Base(n.path))); err != nil {
			return err
		}
	}
	if err := p.runner.attach(s.at("dev", RunnerName)); err != nil {
		return err
	}
	for name, target := range links {
		if _, err := os.Lstat(target); name == "core" && err != nil {
			continue // the kernel shows none
		}
		if err := os.Symlink(target, s.at("dev", name)); err != nil {
			return err
		}
		if err := os.Lchown(s.at("dev", name), base, base); err != nil {
			return err
		}
	}
	spec.Mounts[i] = specs.Mount{Destination: "/dev", Source: s.at("dev"), Type: "bind", Options: []string{"rbind"}}
	return nil
}
