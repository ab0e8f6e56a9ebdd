package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"agentctl/envcache"
	"agentctl/envcache/repo"

	"golang.org/x/sync/errgroup"
)

// prepared is what a task runs in.
type prepared struct {
	cmd      command
	owner    identity
	python   envcache.Interpreter
	env      *envcache.Lease // nil for a shell script without requirements
	checkout *repo.Checkout  // nil without a repository
	token    string
}

// prepare makes everything that the task needs. Repository, environment and
// token are fetched at once; only requirements that speak of the repository's
// files wait for it.
func (r *run) prepare(ctx context.Context) (*prepared, error) {
	began := time.Now()
	var p prepared
	var err error
	if p.cmd, err = parseScript(r.task.Script); err != nil {
		return nil, err
	}
	if p.owner, err = resolveUser(r.rec.Worker.RunAs); err != nil {
		return nil, err
	}
	if err := reachable(r.pool.cfg.State, p.owner); err != nil {
		return nil, err
	}
	if err := r.dirs.createPrivate(p.owner); err != nil {
		return nil, err
	}
	group, ctx := errgroup.WithContext(ctx)
	checkedOut := make(chan struct{})
	group.Go(func() error { return r.login(ctx, &p) })
	group.Go(func() error {
		defer close(checkedOut)
		return r.checkOut(ctx, &p)
	})
	group.Go(func() error {
		if r.needsCheckout() {
			<-checkedOut // closed in every case; a failure shows as a nil checkout
		}
		return r.environment(ctx, &p)
	})
	err = group.Wait()
	p.addLeases(r)
	if err != nil {
		return nil, err
	}
	r.span("prepare", began)
	return &p, nil
}

func (p *prepared) addLeases(r *run) {
	if p.env != nil {
		r.release = append(r.release, func() { _ = p.env.Close() })
	}
	if p.checkout != nil {
		r.release = append(r.release, func() { _ = p.checkout.Close() })
	}
}

// login gets the token that the task itself uses: good for this task alone on
// the embedded server, and with an end everywhere.
func (r *run) login(ctx context.Context, p *prepared) error {
	life := max(time.Duration(r.rec.Worker.MaxRuntime)+time.Hour, 30*24*time.Hour)
	return r.insist(ctx, func() (err error) {
		p.token, err = r.conn.Client.TaskToken(ctx, r.rec.Task, life)
		return err
	})
}

func (r *run) checkOut(ctx context.Context, p *prepared) error {
	s := r.task.Script
	if s.Repository == "" {
		if s.Diff != "" && p.cmd.Literal == "" {
			return errors.New("cannot apply the task's uncommitted changes: the task names no repository")
		}
		return nil
	}
	src := repo.Source{
		URL: s.Repository, Branch: s.Branch, Tag: s.Tag, Commit: s.VersionNum,
		UID: p.owner.UID, GID: p.owner.GID,
	}
	if p.cmd.Literal == "" {
		src.Diff = s.Diff
	}
	began := time.Now()
	checkout, err := r.pool.cfg.Repos.Acquire(ctx, src, r.progress)
	if err != nil {
		return err
	}
	p.checkout = checkout
	r.note(func(rec *Record) { rec.Commit = checkout.Commit })
	r.span("repository", began)
	for _, w := range checkout.Warnings {
		r.say("WARNING: %s", w)
	}
	if !checkout.Hit {
		hint(r.pool.grown)
		r.say("repository %s at %s in %s", checkout.URL, short(checkout.Commit), round(time.Since(began)))
	}
	return nil
}

// environment finds the interpreter and leases the environment.
func (r *run) environment(ctx context.Context, p *prepared) error {
	lines, base, err := r.requirements(p)
	if err != nil {
		return err
	}
	if p.cmd.Shell != "" && len(lines) == 0 {
		return nil
	}
	began := time.Now()
	pm := r.rec.Worker.PackageManager
	want := pythonVersion(r.task.Script.Binary)
	if want == "" {
		want = pm.Python.Default
	}
	python, note, err := r.pool.cfg.Finder.Find(ctx, want, pm.Python.OnMissing, p.owner.UID, p.owner.GID)
	if err != nil {
		return err
	}
	if note != "" {
		r.say("%s", note)
	}
	lease, err := r.pool.cfg.Envs.Acquire(ctx, envcache.Request{
		Manager: pm.Type, Python: python, Requirements: lines, BaseDir: base,
		IndexURL: pm.IndexURL, ExtraIndexURLs: pm.ExtraIndexURLs, CredentialsFile: pm.IndexCredentialsFile,
		UID: p.owner.UID, GID: p.owner.GID,
	}, r.progress)
	if err != nil {
		return err
	}
	p.env, p.python = lease, python
	r.span("environment", began)
	how := "hit"
	if !lease.Hit {
		how = "built"
		hint(r.pool.grown)
	}
	r.note(func(rec *Record) {
		rec.Environment, rec.EnvKey, rec.Frozen, rec.Why = how, lease.Key, lease.Frozen, lease.Why
	})
	if err := r.keepKey(lease); err != nil {
		return err
	}
	r.say("environment %s (%s) in %s: python %s, %d packages; %s", short(lease.Key), how, round(time.Since(began)), python.Version, len(lease.Frozen), lease.Why)
	return nil
}

// requirements returns what is to be installed: the task's own list, else the
// requirements.txt of each folder from the repository's root down to the entry
// point's, as clearml-agent does.
func (r *run) requirements(p *prepared) (lines []string, base string, err error) {
	if p.checkout != nil {
		base = p.checkout.Path
	}
	lines = r.task.Script.Requirements.Pip
	if slices.ContainsFunc(lines, func(l string) bool { return strings.TrimSpace(l) != "" }) {
		return lines, base, nil
	}
	if p.checkout == nil {
		return nil, base, nil
	}
	dir := filepath.Join(p.cmd.Dir, filepath.Dir(p.cmd.File))
	root, err := os.OpenRoot(base)
	if err != nil {
		return nil, "", fmt.Errorf("cannot read the repository: %w", err)
	}
	defer func() { _ = root.Close() }()
	lines = nil
	at := ""
	for _, part := range append([]string{"."}, strings.Split(filepath.Clean(dir), "/")...) {
		at = filepath.Join(at, part)
		name := filepath.Join(at, "requirements.txt")
		if _, err := root.Stat(name); err == nil && !slices.Contains(lines, "-r "+name) {
			lines = append(lines, "-r "+name)
		}
	}
	if len(lines) == 0 {
		r.say("WARNING: the task lists no requirements and its repository holds no requirements.txt: the environment is empty")
	}
	return lines, base, nil
}

var ownFiles = regexp.MustCompile(`(?m)^\s*(-r|--requirement|-c|--constraint|-e|--editable|\.|/|file:)|@\s*file:`)

// needsCheckout tells whether the requirements can't be known, or installed,
// without the repository.
func (r *run) needsCheckout() bool {
	if r.task.Script.Repository == "" {
		return false
	}
	text := strings.Join(r.task.Script.Requirements.Pip, "\n")
	return strings.TrimSpace(text) == "" || ownFiles.MatchString(text)
}

var pythonName = regexp.MustCompile(`^python(\d+\.\d+(?:\.\d+)?)$`)

// pythonVersion reads the version out of a task's binary, which is a name or a
// path of the machine it was made on; "" when it names none.
func pythonVersion(binary string) string {
	m := pythonName.FindStringSubmatch(filepath.Base(binary))
	if m == nil {
		return ""
	}
	return m[1]
}

func (r *run) progress(p envcache.Progress) {
	if p.Text != "" {
		r.say("%s", p)
	}
	r.show(p.Step)
}

// reachable tells whether owner can pass through every folder down to the state
// folder. Without this check the task would fail with a bare "permission denied".
func reachable(state string, owner identity) error {
	if owner.UID <= 0 {
		return nil
	}
	for dir := state; ; dir = filepath.Dir(dir) {
		fi, err := os.Stat(dir)
		if err != nil {
			return fmt.Errorf("cannot look at the state folder: %w", err)
		}
		if !passable(fi, owner) {
			return fmt.Errorf("cannot run tasks as %s: it may not pass through %s (mode %s); put the state folder elsewhere with --state, or write runAs", owner.Name, dir, fi.Mode().Perm())
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

func short(s string) string { return s[:min(len(s), 12)] }

func round(d time.Duration) time.Duration {
	if d < 100*time.Millisecond {
		return d.Round(100 * time.Microsecond)
	}
	return d.Round(10 * time.Millisecond)
}
