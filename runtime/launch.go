package runtime

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"agentctl/internal/crash"
	"agentctl/internal/fsx"
	"agentctl/runtime/internal/contain"
	"agentctl/runtime/internal/record"
)

// Launcher starts runs. It may be used from several goroutines.
type Launcher struct {
	shim string
	host Host
	log  *slog.Logger
	step func(string) // crash.Point
	// patience is with shims that are to end.
	patience time.Duration
	// entered tells that this program is in the range of ids of its sandboxes.
	entered bool

	facts func() (facts, error)
}

// facts don't change while the agent lives.
type facts struct {
	boot         string
	home2, home1 contain.Home
	err2, err1   error // why there is no such cgroup
}

// groupPath is where the cgroups of a sandbox go below the mounts of their
// hierarchies.
func (f facts) groupPath(name string) string {
	if f.err1 == nil {
		return "/" + filepath.Join(filepath.Base(f.home1.Parent), name)
	}
	rel, err := filepath.Rel(cgroupMount, f.home2.Parent)
	if f.err2 != nil || err != nil || !filepath.IsLocal(rel) {
		return ""
	}
	return "/" + filepath.Join(rel, name)
}

// cgroupMount is where cgroup v2 is mounted on hosts that have nothing else.
const cgroupMount = "/sys/fs/cgroup"

func readFacts() (f facts, err error) {
	f.home2, f.err2 = contain.Home2()
	f.home1, f.err1 = contain.Home1()
	f.boot, err = contain.BootID()
	return f, err
}

// NewLauncher starts shims of the program at shimPath by the means of host.
func NewLauncher(shimPath string, host Host, log *slog.Logger) *Launcher {
	return &Launcher{shim: shimPath, host: host, log: log, step: crash.Point, patience: endPatience, facts: sync.OnceValues(readFacts)}
}

// Start starts a run in cfg.Dir and returns when its shim lives and has recorded
// its handle. From then on the run does not need this process. The shim inherits
// the descriptors of leases and holds them until its end; they stay the caller's.
//
// A task that can't be executed is no error here: its Exit has the reason
// StartFailed and says why. Start fails with ErrRan when the folder was used
// before, and when ctx ends before the handle is recorded; nothing runs then.
// Until the task ended, or Detach was called, a goroutine watches it.
func (l *Launcher) Start(ctx context.Context, cfg Config, leases ...*os.File) (*Task, error) {
	t, err := l.start(ctx, cfg, leases)
	if err != nil {
		return nil, fmt.Errorf("cannot start task %.100q: %w", cfg.ID, err)
	}
	l.log.Debug("run started", "run", cfg.ID, "shim", t.PID(), "containment", t.Containment(), "mountNS", t.MountNS())
	return t, nil
}

func (l *Launcher) start(ctx context.Context, cfg Config, leases []*os.File) (*Task, error) {
	run, err := l.order(cfg, len(leases))
	if err != nil {
		return nil, err
	}
	lock, err := l.claim(ctx, run)
	if err != nil {
		return nil, err
	}
	defer func() { _ = lock.Close() }()
	s, err := l.spawn(run, lock.File(), leases)
	if err != nil {
		return nil, err
	}
	l.step("runtime.spawned")
	// Only the shim's copy counts now.
	_ = lock.Close()
	return s.ready(ctx)
}

// claim locks the run's folder and writes the order into it. The lock is held
// from here on, first by this process and then by the shim, so that an agent that
// comes after us never takes the run for one that did not start.
func (l *Launcher) claim(ctx context.Context, run *record.Run) (*fsx.Lock, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	lock, err := fsx.TryLock(filepath.Join(run.Dir, record.LockFile))
	if errors.Is(err, fsx.ErrLocked) {
		return nil, fmt.Errorf("%w: %w", ErrRan, err)
	}
	if err != nil {
		return nil, err
	}
	err = unused(run.Dir)
	if err == nil {
		err = fsx.ReplaceJSON(filepath.Join(run.Dir, record.RunFile), run, 0o600)
	}
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	l.step("runtime.run-written")
	return lock, nil
}

// order checks cfg and settles what it leaves open.
func (l *Launcher) order(cfg Config, leases int) (*record.Run, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return l.complete(cfg, leases)
}

// complete settles what a checked cfg leaves open.
func (l *Launcher) complete(cfg Config, leases int) (*record.Run, error) {
	if err := l.host.settle(&cfg); err != nil {
		return nil, err
	}
	known, err := l.facts()
	if err != nil {
		return nil, err
	}
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // never fails
	cfg.Version = record.Version
	run := &record.Run{
		Config: cfg, Nonce: hex.EncodeToString(nonce[:]), BootID: known.boot,
		Leases: leases, Shim: filepath.Base(l.shim),
	}
	if cfg.Sandbox != nil {
		sb := *cfg.Sandbox // the caller's stays as it is
		run.Sandbox = &sb
		if l.entered {
			return run, l.inside(run, known)
		}
		if os.Geteuid() != 0 {
			if known.err1 != nil && known.home2.Delegated() {
				run.CgroupPath = known.groupPath(cfg.ID + "-" + run.Nonce[:8])
			}
			return run, rootless(run)
		}
		run.CgroupPath = known.groupPath(cfg.ID + "-" + run.Nonce[:8])
		if run.CgroupHome = known.home1.Own; known.err1 != nil {
			run.CgroupHome = known.home2.Own
		}
		return run, nil
	}
	home := known.home2
	switch cfg.Containment {
	case Cgroup2:
		err = known.err2
	case Cgroup1:
		home, err = known.home1, known.err1
		run.CgroupHome = home.Own
	default:
		return run, nil
	}
	run.Cgroup = filepath.Join(home.Parent, cfg.ID+"-"+run.Nonce[:8])
	return run, err
}

// unused refuses a folder in which a task was, or may have been, started.
func unused(dir string) error {
	for _, name := range []string{record.HandleFile, record.ExitFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return fmt.Errorf("%w: %s is in %s", ErrRan, name, dir)
		}
	}
	// A wish to stop that an earlier attempt left must not stop this one.
	err := os.Remove(filepath.Join(dir, record.StopFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}
