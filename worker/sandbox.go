package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"agentctl/runtime"
	"agentctl/runtime/dockerargs"
	"agentctl/runtime/gpu"
	"agentctl/spec"

	"github.com/samber/lo"
)

// sandboxed is what a task of mode sandbox has besides its environment and its code.
type sandboxed struct {
	container
	ids   runtime.IDRange
	image *Image
	boxes *taskBoxes
	laid  runtime.Config // with the sandbox as it is before environment and checkout
	gpus  gpu.Edits      // what of it is for GPUs
}

// sandboxOf decides what a task of a worker of mode sandbox runs in.
func (p *Pool) sandboxOf(n *needs, w spec.Worker) error {
	ids, err := IDRange(p.cfg.State, w.Sandbox.IDs)
	if err != nil {
		return err
	}
	own := p.hidden()
	c, err := containerOf(n.task, w, n.rule, places{never: append(own, p.secretFiles(n.git, w)...), reserved: own})
	if err != nil {
		return err
	}
	if n.standalone && len(n.packages.choice.apt) > 0 {
		return errors.New("cannot install Debian packages: the task's worker is standalone; name an image that has them")
	}
	n.box = &sandboxed{container: c, ids: ids}
	// Until the image tells who it is.
	n.owner = identity{Name: "root", UID: ids.Base, GID: ids.Base, Later: os.Geteuid() != 0}
	return nil
}

// secretFiles are those of the operator that hold credentials: no task mounts them,
// whatever folders it may mount.
func (p *Pool) secretFiles(git spec.Git, w spec.Worker) []string {
	files := []string{git.CredentialsFile, w.PackageManager.IndexCredentialsFile, w.Sandbox.CredentialsFile}
	for _, r := range w.Sandbox.Registries {
		files = append(files, r.CredentialsFile)
	}
	p.mu.Lock()
	if p.node != nil {
		files = append(files, p.node.Spec.Server.CredentialsFile)
	}
	p.mu.Unlock()
	return lo.Compact(files)
}

// fetchImage has the image of the task's sandbox, and learns from it as whom the task
// runs. All else that is made for the task belongs to that user.
func (r *run) fetchImage(ctx context.Context, p *prepared) error {
	b := p.box
	began := time.Now()
	r.show("image")
	for _, note := range b.Notes {
		r.say("container: %s", note)
	}
	var err error
	b.image, err = r.pool.cfg.Images.Acquire(ctx, b.Image, r.rec.Worker.Sandbox, func(text string, done, total int64) {
		r.said("image", text, done, total)
	})
	if err != nil {
		return err
	}
	r.release = append(r.release, func() { _ = b.image.Close() })
	r.span("image", began)
	r.mu.Lock()
	if r.loaded > 0 { // it was pulled
		hint(r.pool.grown)
	}
	r.mu.Unlock()
	r.note(func(rec *Record) { rec.Image, rec.ImageDigest = b.image.Ref, b.image.Digest })
	r.pool.bytecode.put(ctx, b.image, r.rec.Worker, b.ids)
	if err := r.addPackages(ctx, p); err != nil {
		return err
	}
	if p.owner, err = b.owner(); err != nil {
		return err
	}
	r.note(func(rec *Record) {
		rec.Network, rec.User, rec.HostUser = cmp.Or(b.Settings.Network, spec.NetworkHost), p.owner.Name, p.owner.UID
	})
	return nil
}

// owner is whom the image makes of the task's user.
func (b *sandboxed) owner() (identity, error) {
	u, err := b.image.userOf(b.Settings.User)
	if err != nil {
		return identity{}, err
	}
	groups, err := b.image.groupsOf(b.Settings.Groups)
	if err != nil {
		return identity{}, err
	}
	groups = lo.Uniq(append(u.Sgids, groups...))
	for _, id := range append([]int{u.Uid, u.Gid}, groups...) {
		if id >= b.ids.Size {
			return identity{}, fmt.Errorf("cannot run as user or group %d in a sandbox: the range of this node has %d ids (spec.sandbox.ids)", id, b.ids.Size)
		}
	}
	return identity{
		Name: cmp.Or(b.Settings.User, b.image.User, "root"), UID: b.ids.Base + u.Uid, GID: b.ids.Base + u.Gid,
		Groups: lo.Map(groups, func(id, _ int) int { return b.ids.Base + id }), Later: os.Geteuid() != 0,
	}, nil
}

// said tells a step with its bytes on the console and in the status.
func (r *run) said(step, text string, done, total int64) {
	if text != "" {
		r.say("%s: %s", step, text)
	}
	r.mu.Lock()
	r.phase, r.loaded, r.size = step, done, total
	r.mu.Unlock()
	hint(r.pool.changed)
}

// sandbox lays the task out in its image: environment and checkout at their own
// paths, as in a mount namespace of the host.
func (r *run) sandbox(cfg *runtime.Config, env *taskEnv, p *prepared, root string) (code, python string, err error) {
	code, python = r.overlay(cfg, env, p, root)
	b, s := p.box, p.box.Settings
	cfg.UID, cfg.GID, cfg.Groups, cfg.Sandbox = b.laid.UID, b.laid.GID, b.laid.Groups, b.laid.Sandbox
	if _, lost := r.pool.cfg.Host.Keepable(resourcesOf(s)); len(lost) > 0 && p.owner.Later {
		r.say("WARNING: the limits of %s are not kept: the agent is not root and has no cgroup of its own for them (agentctl doctor)", strings.Join(lost, ", "))
	}
	if p.owner.Later && cfg.Sandbox.Network.Mode == runtime.NetworkHost && !r.rec.Worker.Sandbox.Metadata {
		r.say("WARNING: the task can reach the metadata addresses of this machine, if there are any: only an agent that is root can keep them off")
	}
	if err := r.certify(cfg, env, b.image); err != nil {
		return "", "", err
	}
	env.chosen, env.image = append(env.chosen, variables(s, r.pool.cfg.Environ)...), slices.Concat(b.gpus.Env, b.image.Env)
	if !b.laid.Sandbox.Host { // which has them where its linker finds them
		env.libraries = b.gpus.Libraries()
	}
	return code, python, nil
}

// confine gives cfg the sandbox of the task's image with its limits, and of the host
// nothing yet.
func (s site) confine(ctx context.Context, cfg *runtime.Config, p *prepared, network string, urls ...string) error {
	if err := s.contain(cfg, p, network); err != nil {
		return err
	}
	return s.network(ctx, cfg.Sandbox, p.box.Settings, urls...)
}

// contain is confine without the network, which takes a look at the host's rules.
func (s site) contain(cfg *runtime.Config, p *prepared, network string) error {
	b, c := p.box, p.box.Settings
	inside := func(id int) int { return id - b.ids.Base }
	cfg.UID, cfg.GID = inside(p.owner.UID), inside(p.owner.GID)
	cfg.Groups = lo.Map(p.owner.Groups, func(id, _ int) int { return inside(id) })
	box := &runtime.Sandbox{
		Layers: b.image.Layers, Host: len(b.image.Layers) == 0, IDs: b.ids, Shifted: b.image.Shifted || os.Geteuid() != 0,
		Hostname: c.Hostname, ShmSize: c.ShmSize, CapAdd: c.CapAdd, ReadOnly: c.ReadOnlyRoot, StopSignal: b.image.StopSignal,
		Network:   runtime.Network{Mode: network},
		Resources: resourcesOf(c),
		Ulimits: lo.Map(c.Ulimits, func(u dockerargs.Ulimit, _ int) runtime.Ulimit {
			return runtime.Ulimit{Name: u.Name, Soft: u.Soft, Hard: u.Hard}
		}),
	}
	switch scratch := s.worker.Sandbox.Scratch; {
	case box.Host: // is read-only
	case scratch.Medium == spec.MediumMemory:
		box.UpperSize = int64(scratch.Size)
	default:
		box.Upper = filepath.Join(s.dirs.upper(), "root")
		if err := os.MkdirAll(box.Upper, 0o700); err != nil {
			return err
		}
	}
	if p.owner.Later { // root has them, or is told that he has not
		box.Resources, _ = s.pool.cfg.Host.Keepable(box.Resources)
	}
	cfg.Sandbox = box
	return nil
}

func resourcesOf(s dockerargs.Settings) runtime.Resources {
	r := runtime.Resources{
		Memory: s.Memory, CPUs: s.CPUs, CPUSet: s.CPUSet, CPUShares: uint64(s.CPUShares), PIDs: s.PIDs, IOWeight: uint16(s.BlkioWeight),
	}
	if s.MemorySwap > s.Memory {
		r.Swap = s.MemorySwap - s.Memory
	}
	return r
}

func mountOf(m dockerargs.Mount, _ int) runtime.Mount {
	return runtime.Mount{Source: m.Source, Target: m.Target, ReadOnly: m.ReadOnly, Memory: m.Source == "", Size: m.Size}
}

// readText is a small file of the host; "" if it has none.
func readText(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(data)
}
