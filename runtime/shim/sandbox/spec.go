package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runc/libcontainer/specconv"
	"github.com/opencontainers/runtime-spec/specs-go"

	"agentctl/runtime/internal/record"
)

// RunnerName is the program's name as process 1 of a sandbox.
const RunnerName = record.RunnerName

// runnerPath is where it lies inside: in a file system of the sandbox's own, so
// that the image's root shows no trace of it.
const runnerPath = "/dev/" + RunnerName

const defaultShm = 64 << 20

// config translates a sandbox into what libcontainer takes, beginning with what
// `runc spec` writes: its masks, read-only paths and mounts are the kept ones.
func (s *stage) config(p *parts) (*configs.Config, error) {
	sb := s.run.Sandbox
	spec := specconv.Example()
	spec.Root = &specs.Root{Path: s.at("root"), Readonly: sb.Host || sb.ReadOnly}
	spec.Hostname = hostname(s.run)
	s.process(spec)
	if err := s.mounts(spec, p); err != nil {
		return nil, err
	}
	l := spec.Linux
	l.Namespaces = nil
	for _, kind := range sb.Namespaces() {
		l.Namespaces = append(l.Namespaces, specs.LinuxNamespace{Type: specs.LinuxNamespaceType(kind)})
	}
	l.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(sb.IDs.Base), Size: uint32(sb.IDs.Size)}}
	l.GIDMappings = l.UIDMappings
	// Power meters tell what other tasks compute; a task's image has no use for them.
	l.MaskedPaths = append(l.MaskedPaths, "/proc/interrupts", "/sys/devices/virtual/powercap")
	l.Sysctl = sb.Sysctls
	l.CgroupsPath = s.run.CgroupPath
	var err error
	if l.Resources, err = resources(sb.Resources); err != nil {
		return nil, err
	}
	if err := s.devices(spec, p.devices); err != nil {
		return nil, err
	}
	if p.unloaded {
		if l.Seccomp, err = profile(spec.Process.Capabilities.Bounding); err != nil {
			return nil, err
		}
	}
	return specconv.CreateLibcontainerConfig(&specconv.CreateOpts{
		CgroupName: name(s.run), Spec: spec, RootlessCgroups: s.run.Rootless,
	})
}

func hostname(run *record.Run) string {
	if run.Sandbox.Hostname != "" {
		return run.Sandbox.Hostname
	}
	return strings.ReplaceAll(run.ID[:min(len(run.ID), 63)], "_", "-")
}

func (s *stage) process(spec *specs.Spec) {
	sb, p := s.run.Sandbox, spec.Process
	p.Terminal, p.NoNewPrivileges = false, true
	p.User = specs.User{UID: uint32(max(s.run.UID, 0)), GID: uint32(max(s.run.GID, 0))}
	caps := slices.Clone(sb.CapAdd)
	p.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Permitted: caps, Effective: caps}
	p.OOMScoreAdj = sb.OOMScoreAdj
	p.Rlimits = nil
}

// mounts adds what is to be seen to the spec's own mounts.
func (s *stage) mounts(spec *specs.Spec, p *parts) error {
	sb := s.run.Sandbox
	usualMounts(spec.Mounts, sb)
	if sb.HostIPC { // which has queues of its own, shown below if the host has them
		spec.Mounts = slices.DeleteFunc(spec.Mounts, func(m specs.Mount) bool { return m.Destination == "/dev/mqueue" })
	}
	if sb.Host {
		spec.Mounts = append(spec.Mounts, covers(s.run.Hide)...)
	}
	for i, b := range p.binds {
		source := s.at("m", strconv.Itoa(i))
		if err := b.attach(source); err != nil {
			return err
		}
		m := specs.Mount{Destination: b.target, Source: source, Type: "bind", Options: []string{"rbind", "nosuid", "nodev"}}
		if b.readOnly {
			m.Options = append(m.Options, "ro")
		}
		if b.noExec {
			m.Options = append(m.Options, "noexec")
		}
		if i := slices.IndexFunc(spec.Mounts, func(m specs.Mount) bool { return m.Destination == b.target }); i >= 0 {
			spec.Mounts[i] = m
			continue
		}
		spec.Mounts = append(spec.Mounts, m)
	}
	for _, m := range sb.Mounts {
		if m.Memory {
			spec.Mounts = append(spec.Mounts, memory(m))
		}
	}
	if err := s.dev(spec, p); err != nil {
		return fmt.Errorf("cannot make /dev: %w", err)
	}
	return s.files(spec, p)
}

// usualMounts sets what the sandbox says of the mounts that every one has.
func usualMounts(mounts []specs.Mount, sb *record.Sandbox) {
	shm := sb.ShmSize
	if shm == 0 {
		shm = defaultShm
	}
	for i := range mounts {
		switch m := &mounts[i]; m.Destination {
		case "/dev/shm":
			m.Options = []string{"nosuid", "noexec", "nodev", "mode=1777", "size=" + strconv.FormatInt(shm, 10)}
		case "/dev/pts":
			if sb.IDs.Size <= 5 { // the group tty
				m.Options = slices.DeleteFunc(m.Options, func(o string) bool { return strings.HasPrefix(o, "gid=") })
			}
		case "/proc":
			m.Options = []string{"nosuid", "noexec", "nodev"}
		}
	}
}

// memory is an empty folder in memory.
func memory(m record.Mount) specs.Mount {
	opts := []string{"nosuid", "nodev", "mode=1777"}
	if m.Size > 0 {
		opts = append(opts, "size="+strconv.FormatInt(m.Size, 10))
	}
	if m.ReadOnly {
		opts = append(opts, "ro")
	}
	return specs.Mount{Destination: m.Target, Type: "tmpfs", Source: "tmpfs", Options: opts}
}

// covers are empty folders over those of the host that are nobody's business.
func covers(hide []string) []specs.Mount {
	var mounts []specs.Mount
	paths := append([]string{"/root", "/home", "/run", "/tmp", "/var/tmp"}, hide...)
	slices.Sort(paths)
	var last string
	for _, path := range paths {
		if st, err := os.Lstat(path); err != nil || !st.IsDir() {
			continue // links to other places are covered there
		}
		if last != "" && (path == last || strings.HasPrefix(path, last+"/")) {
			continue
		}
		last = path
		mode := "mode=0755"
		if strings.HasSuffix(path, "/tmp") {
			mode = "mode=1777"
		}
		mounts = append(mounts, specs.Mount{Destination: path, Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "nodev", mode}})
	}
	return mounts
}

// files are the texts in /etc that are not the image's.
func (s *stage) files(spec *specs.Spec, p *parts) error {
	sb := s.run.Sandbox
	add := func(target string, data []byte) error {
		source, err := s.file(filepath.Base(target), data)
		spec.Mounts = append(spec.Mounts, specs.Mount{Destination: target, Source: source, Type: "bind", Options: []string{"bind", "nosuid", "nodev", "noexec"}})
		return err
	}
	for target, data := range p.texts {
		// On a host it may be a link into a folder that is covered.
		if real, err := filepath.EvalSymlinks(target); err == nil && sb.Host {
			target = real
		}
		if err := add(target, data); err != nil {
			return err
		}
	}
	if sb.Host {
		return nil
	}
	return add("/etc/hostname", []byte(hostname(s.run)+"\n"))
}
