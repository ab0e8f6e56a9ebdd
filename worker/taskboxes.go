package worker

import (
	"cmp"
	"context"
	"os"

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
	base     runtime.Config
	image    *Image
	hide     []string
}

// taskBoxes readies them; none is started before something runs in it.
func (r *run) taskBoxes(ctx context.Context, p *prepared) (*taskBoxes, error) {
	b := &taskBoxes{
		launcher: r.pool.cfg.Launcher, root: r.dirs.root, base: runtime.Config{ID: r.rec.Task}, image: p.box.image,
		hide: append([]string{r.pool.cfg.State}, r.pool.cfg.Hide...),
	}
	return b, r.confine(ctx, &b.base, p, cmp.Or(r.rec.Worker.Sandbox.BuildNetwork, dockerargs.NetworkHost))
}

// inside runs programs in the task's image, as its user.
func (b *taskBoxes) inside() *buildBoxes {
	return &buildBoxes{launcher: b.launcher, root: b.root, name: "build", leases: b.image.Leases, base: b.base}
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
	return &buildBoxes{launcher: b.launcher, root: b.root, name: name, base: cfg}
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

// endBoxes ends the sandboxes of a build.
func (r *run) endBoxes(all ...*buildBoxes) {
	for _, boxes := range all {
		if err := boxes.close(); err != nil {
			r.log.Error("sandbox of a build not ended", "error", err)
		}
	}
}
