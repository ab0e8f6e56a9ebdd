//go:build bench

package box

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"agentctl/runtime"
	"agentctl/runtime/image"
)

// idBase begins the range of the host's users that those inside are.
const idBase = 100000

// ours starts sandboxes as the agent does.
type ours struct {
	launcher *runtime.Launcher
	lease    *image.Lease
	shifted  bool
	dir      string
}

func newOurs(t *testing.T, dir, registry, ref string) *ours {
	t.Helper()
	shim := filepath.Join(dir, "agentctl-shim")
	loud(t, "bash", "../../setup/shim.sh", shim)
	log := slog.New(slog.DiscardHandler)
	host, err := runtime.Probe(t.Context(), shim, dir, log)
	must(t, err)
	o := &ours{launcher: runtime.NewLauncher(shim, host, log), dir: dir}
	opts := image.Options{Insecure: []string{registry}}
	for _, r := range host.Sandbox {
		if r.Name == runtime.SandboxIDMap && !r.Works {
			o.shifted = true
			opts.Shift = idBase
		}
	}
	s, err := image.Open(filepath.Join(dir, "images"), opts)
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	o.lease, err = s.Acquire(t.Context(), image.Request{Ref: ref}, nil)
	must(t, err)
	t.Cleanup(func() { _ = o.lease.Close() })
	return o
}

// config is a run of its own.
func (o *ours) config(t *testing.T, id string, args []string) runtime.Config {
	t.Helper()
	dir := filepath.Join(o.dir, "runs", id)
	must(t, os.MkdirAll(dir, 0o755))
	return runtime.Config{
		ID: id, Dir: dir, Args: args, Env: []string{"PATH=/usr/bin:/bin"}, Cwd: "/", UID: -1, GID: -1,
		Sandbox: &runtime.Sandbox{
			Layers: o.lease.Layers, IDs: runtime.IDRange{Base: idBase, Size: 65536}, Shifted: o.shifted,
			Network: runtime.Network{Mode: runtime.NetworkHost},
		},
	}
}

func (o *ours) cold() contestant {
	return contestant{name: "agentctl, cold", ready: func(t *testing.T, id string, args []string) func() (*running, error) {
		cfg := o.config(t, id, args)
		return func() (*running, error) {
			task, err := o.launcher.Start(t.Context(), cfg)
			if err != nil {
				return nil, err
			}
			return o.running(t, task, cfg)
		}
	}}
}

func (o *ours) ahead() contestant {
	return contestant{name: "agentctl, made ahead", ready: func(t *testing.T, id string, args []string) func() (*running, error) {
		cfg := o.config(t, id, args)
		spare := cfg
		spare.ID, spare.Dir = "spare-"+id, cfg.Dir+"-spare"
		must(t, os.Mkdir(spare.Dir, 0o755))
		s, err := o.launcher.Prepare(t.Context(), spare)
		must(t, err)
		must(t, s.Ready(t.Context()))
		return func() (*running, error) {
			task, err := s.Start(t.Context(), cfg)
			if err != nil {
				return nil, err
			}
			return o.running(t, task, cfg)
		}
	}}
}

func (o *ours) running(t *testing.T, task *runtime.Task, cfg runtime.Config) (*running, error) {
	console, err := runtime.OpenConsole(cfg.Dir, 0)
	if err != nil {
		return nil, err
	}
	wait := func() error {
		exit, err := task.Wait(t.Context())
		if err == nil && exit.Code != 0 {
			err = fmt.Errorf("ended as %+v", exit)
		}
		return err
	}
	tidy := func() {
		_ = console.Close()
		_ = runtime.RemoveAll(cfg.Dir)
	}
	return &running{
		first: func() error {
			_, err := console.Next(t.Context())
			return err
		},
		wait: func() error {
			err := wait()
			t.Cleanup(tidy) // not while the next is measured
			return err
		},
		kill: func() {
			_ = task.Kill()
			_ = wait()
			tidy()
		},
		pids: func() []int { return []int{task.PID()} },
	}, nil
}
