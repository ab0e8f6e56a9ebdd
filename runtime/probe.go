package runtime

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"agentctl/internal/fsx"
	"agentctl/runtime/internal/contain"
	"agentctl/runtime/internal/record"
)

// probePatience bounds how long one probe may take.
const probePatience = 10 * time.Second

// Probe finds out which rungs work here by running a small task on each: one
// that leaves a process behind for the containment, and one that changes a file
// of its overlay for the mount namespace. dir is the agent's state folder, for
// overlays depend on the file system below them; shimPath is the shim.
func Probe(ctx context.Context, shimPath, dir string, log *slog.Logger) (Host, error) {
	if err := contain.Delegate(); err != nil {
		log.Warn("tasks can't be limited", "error", err)
	}
	scratch, err := os.MkdirTemp(dir, ".probe-")
	if err != nil {
		return Host{}, fmt.Errorf("cannot probe the host: %w", err)
	}
	defer func() { _ = RemoveAll(scratch) }()
	p := prober{shim: shimPath, dir: scratch, log: log}
	h := Host{UID: os.Geteuid()}
	for _, name := range record.Containments() {
		h.Containment = append(h.Containment, rung(name, p.containment(ctx, name)))
	}
	with := h.BestContainment()
	for _, name := range []string{MountRoot, MountUserNS} {
		h.Mounts = append(h.Mounts, rung(name, p.mounts(ctx, name, with)))
	}
	h.Mounts = append(h.Mounts, Rung{Name: MountNone, Works: true})
	h.Sandbox = p.sandboxes(ctx)
	return h, context.Cause(ctx)
}

// allSandbox takes all of sandboxes to work, for it to be tried.
func allSandbox() (rungs []Rung) {
	for _, name := range []string{SandboxWorks, SandboxIDMap, SandboxMemory, SandboxCPU, SandboxCPUSet, SandboxPIDs, SandboxIO} {
		rungs = append(rungs, Rung{Name: name, Works: true})
	}
	return rungs
}

func rung(name string, err error) Rung {
	if err != nil {
		return Rung{Name: name, Reason: err.Error()}
	}
	return Rung{Name: name, Works: true}
}

// prober tries rungs, each in a folder of its own below dir.
type prober struct {
	shim, dir string
	log       *slog.Logger
}

func (p prober) containment(ctx context.Context, name string) error {
	cfg, err := p.config("c-" + name)
	if err != nil {
		return err
	}
	cfg.Containment, cfg.MountNS = name, MountNone
	cfg.Args = []string{p.shim, "probe", "leave"}
	return p.try(ctx, cfg)
}

func (p prober) mounts(ctx context.Context, name, with string) error {
	if name == MountRoot && os.Geteuid() != 0 {
		return fmt.Errorf("the agent is not root but user %d", os.Geteuid())
	}
	cfg, err := p.config("m-" + name)
	if err != nil {
		return err
	}
	base := filepath.Join(cfg.Dir, "base")
	if err := os.MkdirAll(filepath.Join(base, "sub"), 0o755); err != nil {
		return err
	}
	file := filepath.Join(base, "sub", "file")
	if err := fsx.WriteFile(file, []byte("base"), 0o644); err != nil {
		return err
	}
	cfg.Containment, cfg.MountNS = with, name
	cfg.Overlays = []Overlay{{Target: base, Lower: base, Upper: filepath.Join(cfg.Dir, "over")}}
	cfg.Hide, cfg.Keep = []string{cfg.Dir}, []string{p.shim}
	cfg.Args = []string{p.shim, "probe", "change", file}
	if err := p.try(ctx, cfg); err != nil {
		return err
	}
	if data, err := os.ReadFile(file); err != nil || string(data) != "base" {
		return fmt.Errorf("a task changed what lies below its overlay")
	}
	return nil
}

func (p prober) config(name string) (Config, error) {
	dir := filepath.Join(p.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return Config{}, err
	}
	return Config{ID: "probe-" + name, Dir: dir, Cwd: "/", UID: -1, GID: -1}, nil
}

// try runs cfg, whose rungs are taken to work.
func (p prober) try(ctx context.Context, cfg Config) error {
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	assumed := Host{
		Containment: []Rung{{Name: cfg.Containment, Works: true}},
		Mounts:      []Rung{{Name: cfg.MountNS, Works: true}},
		Sandbox:     allSandbox(),
		UID:         os.Geteuid(),
	}
	t, err := NewLauncher(p.shim, assumed, p.log).Start(ctx, cfg)
	if err != nil {
		return err
	}
	exit, err := t.Wait(ctx)
	if err != nil {
		_ = t.Kill()
		t.Detach()
		return fmt.Errorf("the probe did not end: %w", err)
	}
	if exit.Reason != Exited || exit.Code != 0 {
		return fmt.Errorf("%s", exit.Message)
	}
	return nil
}
