package worker

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"sync"

	"agentctl/envcache/repo"
	"agentctl/runtime"
	"agentctl/runtime/dockerargs"
)

// taskBoxes makes the sandboxes in which what a task of mode sandbox needs is prepared:
// of its image, and of the host's file system, both with the network of builds and the
// task's limits.
type taskBoxes struct {
	launcher *runtime.Launcher
	root     string // folder of the task
	files    string // folder below it with what all of them show
	base     runtime.Config
	image    *Image
	hide     []string
	// network readies that of builds, once, and gives a sandbox that has it; nil if base
	// has it. Most tasks find all made, and never need it.
	network func(context.Context) (*runtime.Sandbox, error)
}

// taskBoxes readies them; none is started before something runs in it.
func (r *run) taskBoxes(p *prepared) (*taskBoxes, error) {
	b := &taskBoxes{
		launcher: r.pool.cfg.Launcher, root: r.dirs.root, base: runtime.Config{ID: r.rec.Task}, image: p.box.image, hide: r.pool.hidden(),
		// With another network they have other files than the task's sandbox.
		files: filepath.Join(r.dirs.root, boxPrefix+"files"),
	}
	if err := os.MkdirAll(b.files, 0o711); err != nil {
		return nil, err
	}
	at := r.site()
	at.dirs = folders{b.files}
	if err := at.contain(&b.base, p, cmp.Or(r.rec.Worker.Sandbox.BuildNetwork, dockerargs.NetworkHost)); err != nil {
		return nil, err
	}
	var once sync.Once
	var err error
	shared, settings := *b.base.Sandbox, p.box.Settings
	b.network = func(ctx context.Context) (*runtime.Sandbox, error) {
		once.Do(func() { err = at.network(ctx, &shared, settings) })
		return &shared, err
	}
	return b, nil
}

// close removes what they show; none of them is there any more.
func (b *taskBoxes) close() error { return runtime.RemoveAll(b.files) }

// inside runs programs in the task's image, as its user.
func (b *taskBoxes) inside() *buildBoxes {
	return &buildBoxes{launcher: b.launcher, root: b.root, name: "build", leases: b.image.Leases, base: b.base, network: b.network}
}

// host runs programs in the host's file system, as the task's user or the sandbox's
// root. name tells them from others of the task.
func (b *taskBoxes) host(name string, root bool) *buildBoxes {
	cfg, box := b.base, *b.base.Sandbox
	box.Layers, box.Host, box.Upper, box.UpperSize, box.CapAdd = nil, true, "", 0, nil
	cfg.Sandbox, cfg.Hide = &box, b.hide
	if root {
		cfg.UID, cfg.GID, cfg.Groups = 0, 0, nil
	}
	return &buildBoxes{launcher: b.launcher, root: b.root, name: name, base: cfg, network: b.network}
}

// git is where the git of the task's checkout runs. What it fetches is in mirrors of its
// own: no git of the agent's ever reads what one in a sandbox wrote. It is nil for an
// agent that can't give files to the users of a sandbox.
func (b *taskBoxes) git(ids runtime.IDRange) *repo.Box {
	if os.Geteuid() != 0 {
		return nil
	}
	boxes := b.host("git", true)
	return &repo.Box{Exec: boxes, End: boxes.close, UID: ids.Base, GID: ids.Base}
}

// endGit ends the git of a checkout.
func (p *Pool) endGit(src repo.Source) {
	if src.Box == nil {
		return
	}
	if err := src.Box.End(); err != nil {
		p.cfg.Log.Error("sandbox of git not ended", "error", err)
	}
}

// endBoxes ends the sandboxes of a build.
func (r *run) endBoxes(all ...*buildBoxes) {
	for _, boxes := range all {
		if err := boxes.close(); err != nil {
			r.log.Error("sandbox of a build not ended", "error", err)
		}
	}
}
