package worker

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"agentctl/envcache"
	"agentctl/runtime"
	"agentctl/spec"

	"github.com/samber/lo"
)

// prepareAndStart brings the task from "in progress on the server" to a running
// shim. A stop request meanwhile ends the preparation.
func (r *run) prepareAndStart(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.mu.Lock()
	r.cancel = cancel
	stopped := r.final != nil
	r.mu.Unlock()
	if stopped {
		return context.Canceled
	}
	defer r.dropSandbox()
	p, err := r.prepare(ctx)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	cfg, err := r.config(ctx, p)
	if err != nil {
		return err
	}
	r.note(func(rec *Record) { rec.Checkpoint = checkpointSignal(p.packages.choice.checkpoint, rec.Worker) })
	if err := r.enter(PhaseStarting, false); err != nil {
		return err
	}
	began := time.Now()
	proc, err := r.launch(ctx, cfg, p)
	if err != nil && cfg.Validate() == nil {
		err = Infrastructure(err)
	}
	if err != nil {
		return err
	}
	r.span("start", began)
	r.attached(proc)
	return nil
}

// venv is what VIRTUAL_ENV says: tools take an environment of conda by CONDA_PREFIX,
// and are confused by both.
func (p *prepared) venv(dir string) string {
	if p.manager == spec.ManagerConda {
		return ""
	}
	return dir
}

func (p *prepared) leases() []*os.File {
	var files []*os.File
	if p.env != nil {
		files = append(files, p.env.File())
	}
	if p.checkout != nil {
		files = append(files, p.checkout.File())
	}
	if p.box != nil {
		files = append(files, p.box.image.Leases...)
	}
	return files
}

// config lays the task out. Where a mount namespace can be had, environment and
// checkout are seen at their own paths through an overlay whose upper folder is
// the task's, and nothing else of the state folder is seen at all. Elsewhere the
// task gets a thin child environment and a copy of the checkout.
func (r *run) config(ctx context.Context, p *prepared) (runtime.Config, error) {
	cfg := runtime.Config{
		ID: r.rec.Task, Dir: r.dirs.root,
		UID: p.owner.UID, GID: p.owner.GID, Groups: p.owner.Groups,
		Grace: time.Duration(r.rec.Worker.StopGrace), MaxRuntime: time.Duration(r.rec.Worker.MaxRuntime),
	}
	root := r.dirs.code()
	env := taskEnv{
		task: r.rec.Task, worker: r.rec.WorkerID(), endpoints: r.conn.Endpoints, token: p.token,
		home: r.dirs.home(), tmp: r.dirs.tmp(), user: p.owner.Name, netrc: p.netrc, logLevel: r.rec.Worker.LogLevel,
		gpus: r.pool.gpuVariables(r.rec.Slots, r.rec.Worker),
	}
	env.chosen = r.chosen(p)
	if p.env != nil {
		env.variables = p.env.Variables
	}
	root, python, err := r.place(ctx, &cfg, &env, p, root)
	if err != nil {
		return cfg, err
	}
	if err = r.entry(&cfg, p, root); err != nil {
		return cfg, err
	}
	if env.config, err = writeSDKConfig(r.dirs.home(), p.owner); err != nil {
		return cfg, err
	}
	cfg.Cwd = p.cmd.cwd(root)
	env.pythonPath = lo.Uniq([]string{cfg.Cwd, p.cmd.folder(root)})
	if err = r.addProject(&cfg, &env, p, root, python); err != nil {
		return cfg, err
	}
	cfg.Env = env.build(r.pool.cfg.Environ)
	if cfg.Args, err = r.argv(p, python, cfg.Env); err != nil {
		return cfg, err
	}
	if p.owner.Later {
		cfg.Own = r.dirs.own(cfg.Overlays)
	}
	return cfg, r.withSetup(&cfg, p)
}

// place puts environment and checkout where the task sees them, and tells where its
// code and its interpreter are.
func (r *run) place(ctx context.Context, cfg *runtime.Config, env *taskEnv, p *prepared, root string) (code, python string, err error) {
	switch {
	case p.box != nil:
		code, python, err = r.sandbox(cfg, env, p, root)
	case r.pool.cfg.Host.MountNS(p.owner.UID) != runtime.MountNone:
		code, python = r.overlay(cfg, env, p, root)
	default:
		code, python, err = r.child(ctx, env, p, root)
	}
	if p.python != "" {
		python, env.bin = p.python, []string{filepath.Dir(p.python)}
	}
	return code, python, err
}

// addProject makes the code of a project importable, and its programs callable, as
// if it were installed. Its environment holds what it depends on and serves all its
// commits.
func (r *run) addProject(cfg *runtime.Config, env *taskEnv, p *prepared, root, python string) error {
	if p.checkout == nil || p.project.Kind != envcache.ProjectPoetry && p.project.Kind != envcache.ProjectUV {
		return nil
	}
	project, err := envcache.ProjectRoots(p.checkout.Path, p.project)
	if err != nil {
		return err
	}
	for _, dir := range project.Paths {
		env.pythonPath = append(env.pythonPath, filepath.Join(root, dir))
	}
	uid, gid := p.owner.files()
	if err := project.WriteMetadata(r.dirs.project(), python, uid, gid); err != nil {
		return err
	}
	if !exists(r.dirs.project()) { // it has no name
		return nil
	}
	cfg.Keep = append(cfg.Keep, r.dirs.project())
	env.pythonPath = append(lo.Uniq(env.pythonPath), r.dirs.project())
	env.bin = append(env.bin, filepath.Join(r.dirs.project(), "bin"))
	return nil
}

func (r *run) overlay(cfg *runtime.Config, env *taskEnv, p *prepared, root string) (code, python string) {
	cfg.Hide = r.pool.hidden()
	cfg.Keep = []string{r.dirs.home(), r.dirs.tmp(), r.dirs.code()}
	if p.env != nil {
		cfg.Overlays = append(cfg.Overlays, runtime.Overlay{Target: p.env.Path, Lower: p.env.Path, Upper: filepath.Join(r.dirs.upper(), "env")})
		for _, dir := range p.env.Reads {
			cfg.Overlays = append(cfg.Overlays, runtime.Overlay{Target: dir, Lower: dir})
		}
		python, env.venv = p.env.Python, p.venv(p.env.Path)
		env.bin = []string{filepath.Dir(p.env.Python)}
	}
	if p.checkout != nil {
		cfg.Overlays = append(cfg.Overlays, runtime.Overlay{Target: p.checkout.Path, Lower: p.checkout.Path, Upper: filepath.Join(r.dirs.upper(), "code")})
		root = p.checkout.Path
	}
	return root, python
}

func (r *run) child(ctx context.Context, env *taskEnv, p *prepared, root string) (code, python string, err error) {
	r.note(func(rec *Record) { rec.Thin = true })
	if p.env != nil {
		child, err := r.pool.cfg.Envs.Child(ctx, p.env, r.dirs.child(), p.owner.UID, p.owner.GID)
		if err != nil {
			return "", "", err
		}
		python, env.bin, env.venv, env.variables = child.Python, child.PathDirs, p.venv(r.dirs.child()), child.Variables
	}
	if p.checkout != nil {
		root = r.dirs.checkout()
		if err := r.pool.cfg.Repos.Copy(ctx, p.checkout, root); err != nil {
			return "", "", err
		}
	}
	return root, python, nil
}

// checkBase throws a base environment away that the task wrote into: without a
// mount namespace nothing but file modes kept it out.
func (r *run) checkBase(ctx context.Context) {
	if !r.rec.Thin || r.rec.EnvKey == "" {
		return
	}
	if err := r.pool.cfg.Envs.Audit(ctx, r.rec.EnvKey); err != nil {
		r.log.Warn("environment changed by its task", "env", r.rec.EnvKey, "error", err)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// passable tells whether owner may search the folder fi, by its mode alone.
func passable(fi os.FileInfo, owner identity) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	if !ok {
		return true
	}
	mode := fi.Mode().Perm()
	switch {
	case int(st.Uid) == owner.UID:
		return mode&0o100 != 0
	case slices.Contains(owner.Groups, int(st.Gid)):
		return mode&0o010 != 0
	default:
		return mode&0o001 != 0
	}
}
