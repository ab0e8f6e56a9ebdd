package record

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxLayers is what overlayfs takes, less the upper folder.
const maxLayers = 499

// ulimits are the names of setrlimit's limits.
var ulimits = []string{
	"core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile",
	"nproc", "rss", "rtprio", "rttime", "sigpending", "stack",
}

// Ulimits lists the names that a Ulimit may have.
func Ulimits() []string { return slices.Clone(ulimits) }

// check refuses a sandbox that could not be made, or would show more than it says.
func (s *Sandbox) check(c *Config) error {
	return errors.Join(s.checkRoot(), s.checkIDs(c), s.checkMounts(), s.checkLimits(), s.checkNames(), s.checkNetwork())
}

func (s *Sandbox) checkRoot() error {
	var errs []error
	switch {
	case s.Host && len(s.Layers) > 0:
		errs = append(errs, errors.New("sandbox: give layers or host, not both"))
	case !s.Host && len(s.Layers) == 0:
		errs = append(errs, errors.New("sandbox: there is no image: give layers, or host"))
	case len(s.Layers) > maxLayers:
		errs = append(errs, fmt.Errorf("sandbox: the image has %d layers, overlayfs takes at most %d", len(s.Layers), maxLayers))
	case s.Host && (s.Upper != "" || s.UpperSize != 0):
		errs = append(errs, errors.New("sandbox: the host's file system is read-only: leave upper and its size out"))
	}
	for _, l := range s.Layers {
		errs = append(errs, checkPath("sandbox layer", l))
	}
	if s.Upper != "" {
		errs = append(errs, checkPath("sandbox upper", s.Upper))
	}
	for what, path := range map[string]string{"resolvConf": s.ResolvConf, "hosts": s.Hosts} {
		if path != "" {
			errs = append(errs, checkPath("sandbox "+what, path))
		}
	}
	return errors.Join(errs...)
}

func (s *Sandbox) checkIDs(c *Config) error {
	r := s.IDs
	if r.Base <= 0 || r.Size <= 0 || r.Base+r.Size > math.MaxUint32 {
		return fmt.Errorf("sandbox: the ids %d+%d are no range of users: give a base above 0 and a size, as 100000 and 65536", r.Base, r.Size)
	}
	for _, id := range append([]int{c.UID, c.GID}, c.Groups...) {
		if id >= r.Size {
			return fmt.Errorf("sandbox: user or group %d lies beyond the range of %d ids: take a lower one, or a larger range", id, r.Size)
		}
	}
	return nil
}

func (s *Sandbox) checkMounts() error {
	var errs []error
	seen := map[string]bool{}
	for _, m := range s.Mounts {
		errs = append(errs, checkPath("mount target", m.Target))
		switch {
		case m.Memory && m.Source != "":
			errs = append(errs, fmt.Errorf("mount %.200q: memory has no source", m.Target))
		case !m.Memory && m.Size != 0:
			errs = append(errs, fmt.Errorf("mount %.200q: only memory has a size", m.Target))
		case !m.Memory:
			errs = append(errs, checkPath("mount source", m.Source))
		}
		if m.Size < 0 {
			errs = append(errs, fmt.Errorf("mount %.200q: the size must not be negative", m.Target))
		}
		if m.Target == "/" || within(m.Target, "/proc") || within(m.Target, "/sys") || m.Target == "/dev" {
			errs = append(errs, fmt.Errorf("mount target %.200q is the sandbox's own: choose a folder outside of /, /proc, /sys and /dev", m.Target))
		}
		if seen[m.Target] {
			errs = append(errs, fmt.Errorf("mount target %.200q is named twice", m.Target))
		}
		seen[m.Target] = true
	}
	return errors.Join(append(errs, s.checkDevices())...)
}

// ownDevices are what each sandbox has in its /dev.
var ownDevices = []string{
	"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/console", "/dev/ptmx", "/dev/pts", "/dev/shm",
	"/dev/mqueue", "/dev/fd", "/dev/stdin", "/dev/stdout", "/dev/stderr", "/dev/core", "/dev/" + RunnerName,
}

func (s *Sandbox) checkDevices() error {
	var errs []error
	seen := map[string]bool{}
	for _, d := range s.Devices {
		for _, path := range []string{d.Path, d.At()} {
			errs = append(errs, checkPath("device", path))
			if !within(path, "/dev") || path == "/dev" {
				errs = append(errs, fmt.Errorf("device %.200q does not lie in /dev", path))
			}
		}
		if slices.ContainsFunc(ownDevices, func(own string) bool { return within(d.At(), own) }) {
			errs = append(errs, fmt.Errorf("device %.200q is the sandbox's own: choose another name", d.At()))
		}
		if d.Access != "r" && d.Access != "w" && d.Access != "rw" {
			errs = append(errs, fmt.Errorf("device %.200q: the access %.20q is none of r, w, rw", d.Path, d.Access))
		}
		if seen[d.At()] {
			errs = append(errs, fmt.Errorf("device %.200q is named twice", d.At()))
		}
		seen[d.At()] = true
	}
	return errors.Join(errs...)
}

func (s *Sandbox) checkLimits() error {
	var errs []error
	for _, u := range s.Ulimits {
		if !slices.Contains(ulimits, u.Name) {
			errs = append(errs, fmt.Errorf("ulimit %.50q is none of %s", u.Name, strings.Join(ulimits, ", ")))
		}
		if u.Soft < -1 || u.Hard < -1 || u.Hard != -1 && (u.Soft == -1 || u.Soft > u.Hard) {
			errs = append(errs, fmt.Errorf("ulimit %.50s: soft %d and hard %d do not fit: -1 is unlimited, and soft is at most hard", u.Name, u.Soft, u.Hard))
		}
	}
	r := s.Resources
	for what, n := range map[string]float64{
		"upper size": float64(s.UpperSize), "shm size": float64(s.ShmSize), "memory": float64(r.Memory), "cpus": r.CPUs, "pids": float64(r.PIDs),
	} {
		if n < 0 || math.IsNaN(n) || math.IsInf(n, 0) {
			errs = append(errs, fmt.Errorf("sandbox: %s must not be negative", what))
		}
	}
	if r.Swap < -1 || r.Swap != 0 && r.Memory == 0 {
		errs = append(errs, errors.New("sandbox: swap is a number of bytes or -1, and needs a memory limit beside it"))
	}
	if r.CPUs > 0 && r.CPUs < 0.01 {
		errs = append(errs, errors.New("sandbox: the kernel limits CPUs to 0.01 at least"))
	}
	for what, list := range map[string]string{"cpuSet": r.CPUSet, "memorySet": r.MemorySet} {
		if strings.Trim(list, "0123456789,-") != "" {
			errs = append(errs, fmt.Errorf("sandbox: %s %.100q is no list as 0-3,6", what, list))
		}
	}
	if r.IOWeight != 0 && (r.IOWeight < 10 || r.IOWeight > 1000) {
		errs = append(errs, fmt.Errorf("sandbox: the io weight %d does not lie between 10 and 1000", r.IOWeight))
	}
	for _, l := range r.IO {
		errs = append(errs, checkPath("io device", l.Device))
	}
	if a := s.OOMScoreAdj; a != nil && (*a < -1000 || *a > 1000) {
		errs = append(errs, fmt.Errorf("sandbox: the oom score adjustment %d does not lie between -1000 and 1000", *a))
	}
	return errors.Join(errs...)
}

func (s *Sandbox) checkNames() error {
	var errs []error
	if len(s.Hostname) > 64 || strings.Trim(s.Hostname, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") != "" {
		errs = append(errs, fmt.Errorf("sandbox: the host name %.100q is not made of at most 64 letters, digits, dashes and dots", s.Hostname))
	}
	for _, name := range s.CapAdd {
		if !strings.HasPrefix(name, "CAP_") || strings.Trim(name[4:], "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" || len(name) > 40 {
			errs = append(errs, fmt.Errorf("sandbox: capability %.50q is not written as CAP_SYS_PTRACE", name))
		}
	}
	for key, value := range s.Sysctls {
		if key == "" || strings.Trim(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-/") != "" || strings.Contains(key, "..") || len(key) > 200 {
			errs = append(errs, fmt.Errorf("sandbox: sysctl %.100q is not a name as net.core.somaxconn", key))
		}
		if strings.IndexByte(value, 0) >= 0 || !utf8.ValidString(value) || len(value) > 4096 {
			errs = append(errs, fmt.Errorf("sandbox: the value of sysctl %.100q is not a text", key))
		}
	}
	if s.StopSignal != "" && (!strings.HasPrefix(s.StopSignal, "SIG") || len(s.StopSignal) > 20) {
		errs = append(errs, fmt.Errorf("sandbox: the stop signal %.50q is not written as SIGINT", s.StopSignal))
	}
	return errors.Join(errs...)
}

func (s *Sandbox) checkNetwork() error {
	n := s.Network
	var err error
	if n.Mode != NetworkHost && n.Mode != NetworkNone && n.Mode != NetworkPrivate {
		return fmt.Errorf("sandbox: network %.50q is none of host, none, private", n.Mode)
	}
	if (n.Mode == NetworkPrivate) != (n.Pool != nil) {
		err = fmt.Errorf("sandbox: a pool of addresses does not fit to network %s", n.Mode)
	}
	if n.Mode == NetworkHost && n.Servers != nil {
		err = errors.Join(err, errors.New("sandbox: servers are reached directly in the host's network"))
	}
	return err
}
