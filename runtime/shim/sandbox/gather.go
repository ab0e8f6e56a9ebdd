package sandbox

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"agentctl/runtime/internal/record"
)

// parts are the mounts of a sandbox before there is a place for them.
type parts struct {
	ns     *os.File // maps owners; nil where they are stored in the range
	layers []piece  // or the host's root
	upper  *piece
	exe    string
	exeDir piece
	runner piece
	binds  []bind
	views  []view            // what is mounted late
	given  chan error        // has one value when the run's user has what is his own
	texts  map[string][]byte // files in /etc, by their paths inside

	devices []node
	usual   []usualNode

	filter   *os.File // of system calls, for the runner to load
	unloaded bool     // it is not in filter: libcontainer is to make and load it
}

// bind is a piece to be shown inside.
type bind struct {
	piece
	target   string
	readOnly bool
	noExec   bool
}

// gather makes all parts of a run's sandbox. It must be called on a thread that
// sees the host's mounts.
func gather(run *record.Run) (*parts, error) {
	p := &parts{}
	for _, step := range []func(*record.Run) error{p.gatherProgram, p.gatherRoot, p.gatherBinds, p.gatherIPC, p.gatherDevices, p.gatherUsual, p.gatherTexts, p.gatherFilter} {
		if err := step(run); err != nil {
			p.close()
			return nil, err
		}
	}
	p.beginViews(run)
	return p, nil
}

func (p *parts) close() {
	for _, l := range p.layers {
		l.close()
	}
	for _, b := range p.binds {
		b.close()
	}
	for _, d := range p.devices {
		d.close()
	}
	for _, d := range p.usual {
		d.close()
	}
	if p.upper != nil {
		p.upper.close()
	}
	if p.filter != nil {
		_ = p.filter.Close()
	}
	if p.exe != "" {
		p.exeDir.close()
		p.runner.close()
	}
}

// gatherProgram finds this program: the runner, and what libcontainer executes
// as its init.
func (p *parts) gatherProgram(*record.Run) error {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	if p.exeDir, err = clone(filepath.Dir(exe), follow, unix.MOUNT_ATTR_RDONLY); err != nil {
		return err
	}
	const attrs = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	if p.runner, err = clone(exe, follow, attrs); err != nil {
		p.exeDir.close()
		return err
	}
	p.exe = exe
	return nil
}

// gatherTexts reads them before the run's folder, where they may be, is covered.
func (p *parts) gatherTexts(run *record.Run) error {
	p.texts = map[string][]byte{}
	for target, source := range map[string]string{"/etc/resolv.conf": run.Sandbox.ResolvConf, "/etc/hosts": run.Sandbox.Hosts} {
		if source == "" {
			continue
		}
		data, err := readSmall(source)
		if err != nil {
			return fmt.Errorf("cannot show %s: %w", target, err)
		}
		p.texts[target] = data
	}
	return nil
}

func (p *parts) gatherRoot(run *record.Run) error {
	sb := run.Sandbox
	if sb.Host {
		root, err := clone("/", deep|follow, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
		if err != nil {
			return fmt.Errorf("cannot show the host's file system: %w", err)
		}
		p.layers = []piece{root}
	}
	if !sb.Shifted {
		var err error
		if p.ns, err = userNS(sb.IDs); err != nil {
			return err
		}
	}
	for _, layer := range sb.Layers {
		l, err := lower(layer, follow, p.ns)
		if err != nil {
			return fmt.Errorf("cannot use a layer of the image: %w", err)
		}
		p.layers = append(p.layers, l)
	}
	if sb.Upper == "" || sb.Host {
		return nil
	}
	err := os.MkdirAll(sb.Upper, 0o700)
	if err == nil {
		err = uppers(sb.Upper, sb.IDs.Base, 0o755)
	}
	if err != nil {
		return fmt.Errorf("cannot make the upper folder of the root: %w", err)
	}
	u, err := clone(sb.Upper, follow, unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOSUID)
	p.upper = &u
	if err != nil {
		p.upper = nil
		return fmt.Errorf("cannot use the upper folder of the root: %w", err)
	}
	return nil
}

// gatherBinds takes what is to be shown of the host. The links of its own paths
// are the kernel's or an administrator's; those of a mount could be a task's.
func (p *parts) gatherBinds(run *record.Run) error {
	sb := run.Sandbox
	if sb.Network.Mode == record.NetworkHost {
		// A sysfs of the sandbox's own needs a network namespace of its own.
		how := follow
		if inUserNS() {
			how |= deep // what is locked together can't be taken apart
		}
		sys, err := clone("/sys", how, unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
		if err != nil {
			return fmt.Errorf("cannot show /sys: %w", err)
		}
		p.binds = append(p.binds, bind{sys, "/sys", true, true})
	}
	for _, m := range sb.Mounts {
		if m.Memory {
			continue
		}
		attrs := uint64(unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV)
		if m.ReadOnly {
			attrs |= unix.MOUNT_ATTR_RDONLY
		}
		b, err := clone(m.Source, deep, attrs)
		if err != nil {
			return fmt.Errorf("cannot mount to %s: %w", m.Target, err)
		}
		p.binds = append(p.binds, bind{b, m.Target, m.ReadOnly, false})
	}
	return nil
}

// gatherIPC takes the host's shared memory and, where it has them mounted, its
// message queues.
func (p *parts) gatherIPC(run *record.Run) error {
	if !run.Sandbox.HostIPC {
		return nil
	}
	for _, path := range []string{"/dev/shm", "/dev/mqueue"} {
		var fs unix.Statfs_t
		if err := unix.Statfs(path, &fs); path == "/dev/mqueue" && (err != nil || fs.Type != mqueueMagic) {
			continue
		}
		b, err := clone(path, deep|follow, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
		if err != nil {
			return fmt.Errorf("cannot share %s: %w", path, err)
		}
		p.binds = append(p.binds, bind{b, path, false, true})
	}
	return nil
}

// mqueueMagic is the kernel's mark of mqueue(7), which no header shows.
const mqueueMagic = 0x19800202
