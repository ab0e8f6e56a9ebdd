package envcache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"time"

	"agentctl/envcache/internal/talk"
	"agentctl/internal/crash"
	"agentctl/internal/shelf"
)

// build leases the environment key, building it if no other process does.
func (a *acquisition) build(ctx context.Context, key, base string, parts []Part, stay bool) (*shelf.Lease[record], error) {
	waiting := func() {
		a.say(Progress{Time: a.cache.now(), Step: "environment", Text: "waiting for another task's build of the same environment", Waiting: true})
	}
	settling := &settling{cache: a.cache, parts: a.parts, plan: a.plan, stay: stay}
	defer settling.close() // after the environment is published
	held, err := a.cache.shelf.Get(ctx, key, waiting, func(ctx context.Context, m shelf.Making) (record, int64, error) {
		rec := record{Manager: a.req.Manager, Python: a.req.Python.Version, Parts: parts, Base: base, Reads: a.plan.reads, Wishes: a.plan.wishes, Origin: a.plan.origin}
		bytes, err := a.fill(ctx, m, settling, &rec)
		return rec, bytes, err
	})
	if err == nil {
		return held, nil
	}
	settling.undo(key)
	if other := (*elsewhere)(nil); settling.found != nil && !errors.As(err, &other) {
		_ = settling.found.Close()
	}
	return nil, failed(err)
}

func failed(err error) error {
	var b *BuildError
	var other *elsewhere
	switch {
	case errors.Is(err, shelf.ErrDirty), errors.Is(err, shelf.ErrDoubt), errors.As(err, &b), errors.As(err, &other):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("cannot build the environment: the disk is full: %w", err)
	}
	return fmt.Errorf("cannot build the environment: %w", err)
}

// fill makes the files of one environment and surveys them.
func (a *acquisition) fill(ctx context.Context, m shelf.Making, settling *settling, rec *record) (int64, error) {
	if a.req.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, a.req.Timeout, fmt.Errorf("the build took longer than %s", a.req.Timeout))
		defer cancel()
	}
	s, err := a.openSite(m, settling)
	if err != nil {
		return 0, err
	}
	defer func() { _ = s.root.Close() }()
	err = a.plan.build(ctx, s)
	a.keepDownloads(s, settling, err)
	if s.unlocked {
		err = errors.Join(err, a.cache.forgetLogins(s.uid, a.plan.secrets))
	}
	if err != nil {
		return 0, err
	}
	crash.Point("env.packages")
	if rec.Frozen, err = freeze(s.root, s.path); err != nil {
		return 0, err
	}
	rec.Variables = s.variables
	if settling.lock != nil {
		rec.Python = settling.lock.Python
	}
	crash.Point("env.frozen")
	all, err := survey(ctx, s.path)
	if err != nil {
		return 0, err
	}
	if err := all.hash(ctx, s.path, func(int) bool { return true }); err != nil {
		return 0, err
	}
	if err := all.write(s.path + manifestSuffix); err != nil {
		return 0, err
	}
	crash.Point("env.manifest")
	return all.bytes(), settling.publish(ctx, rec, filepath.Base(s.path))
}

// openSite makes the empty folders of a build and gives them to its owner.
func (a *acquisition) openSite(m shelf.Making, settling *settling) (*site, error) {
	uid, gid := owner(a.req.UID, a.req.GID)
	for _, dir := range []string{m.Path, m.Work, filepath.Join(m.Work, "home"), filepath.Join(m.Work, "tmp")} {
		if err := os.Mkdir(dir, 0o700); err != nil && (dir != m.Work || !errors.Is(err, fs.ErrExist)) {
			return nil, err
		}
		if switches(a.req.UID) {
			if err := os.Chown(dir, uid, gid); err != nil {
				return nil, err
			}
		}
	}
	if err := os.Chmod(m.Path, 0o755); err != nil {
		return nil, err
	}
	if a.req.Root == nil { // there, the folders above are others
		if err := enterable(m.Path, uid, gid); err != nil {
			return nil, err
		}
	}
	root, err := os.OpenRoot(m.Path)
	if err != nil {
		return nil, err
	}
	s := &site{path: m.Path, work: m.Work, root: root, req: a.req, uid: uid, gid: gid, now: a.cache.now, locked: settling.locked}
	var one sync.Mutex // programs of a build may run side by side
	s.tell = func(p Progress) {
		one.Lock()
		defer one.Unlock()
		p.Text = a.plan.secrets.Redact(p.Text)
		a.say(p)
	}
	s.say = func(step, text string) { s.tell(Progress{Time: a.cache.now(), Step: step, Text: text}) }
	s.foreign = func() { settling.foreign.Store(true) }
	s.unsure = func() { settling.unsure.Store(true) }
	s.listen = func(ctx context.Context, step string, cmd Cmd, events func(string, *phases) bool) error {
		return a.cache.run(ctx, s, m.Lock, a.plan, step, cmd, events)
	}
	s.run = func(ctx context.Context, step string, cmd Cmd) error { return s.listen(ctx, step, cmd, nil) }
	return s, nil
}

// enterable checks that a user may pass through every folder above path, and
// says what to do if not: the program's own error would name the program only.
func enterable(path string, uid, gid int) error {
	if !switches(uid) {
		return nil
	}
	for dir := filepath.Dir(path); dir != "/"; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		st, ok := info.Sys().(*syscall.Stat_t)
		bit := os.FileMode(0o001)
		switch {
		case ok && int(st.Uid) == uid:
			bit = 0o100
		case ok && int(st.Gid) == gid:
			bit = 0o010
		}
		if info.Mode().Perm()&bit == 0 {
			return fmt.Errorf("the user with id %d, who runs the tasks, can't pass through %s: chmod o+x it, or keep the state elsewhere", uid, dir)
		}
	}
	return nil
}

// listed is how pip says which line of the scratch file asked for a package.
var listed = regexp.MustCompile(` ?\(from -[rc] \S*/\.work-\S* \(line \d+\)\)|->-[rc] \S*/\.work-\S* \(line \d+\)`)

// runsCode is how programs say, before it runs, that code of a package is going to.
var runsCode = map[string]*regexp.Regexp{ManagerPip: pipRunsCode, ManagerPoetry: poetryBuilding, ManagerUV: uvRunsCode, uvInstall: uvRunsCode}

// run runs one program of a build. The exclusive lock goes with it: if this
// process is killed, nobody builds the same environment until the program is
// gone as well.
func (c *Cache) run(ctx context.Context, s *site, lock *os.File, p plan, step string, cmd Cmd, events func(string, *phases) bool) error {
	steps := newPhases(s.tell, c.now)
	hear := func(string, *phases) bool { return false }
	each := func(line string) { s.say(step, line) }
	if listen, ok := listeners[step]; ok {
		hear, each = listen(), nil
	}
	clean := func(line string) string {
		if events != nil && events(line, steps) {
			return ""
		}
		if says := runsCode[step]; says != nil && says.MatchString(line) {
			s.foreign()
		}
		line = listed.ReplaceAllString(p.secrets.Redact(line), "")
		if hear(line, steps) {
			return ""
		}
		return line
	}
	lines := talk.NewLines(clean, each)
	ctx, stop := talk.Watch(ctx, c.opts.Silent, lines.Last)
	defer stop()
	cmd.UID, cmd.GID, cmd.Files = s.uid, s.gid, []*os.File{lock}
	cmd.Stderr = lines
	if cmd.Stdout == nil {
		cmd.Stdout = lines
	}
	if s.req.enclosed() {
		cmd.Writes, cmd.Reads = []string{s.path, s.work}, []string{c.tools.dir}
		if step != compileStep { // which runs code of what is installed
			cover, err := s.cover(cmd.host)
			if err != nil {
				return err
			}
			cmd.Covers = []Cover{cover}
		}
	}
	start := c.now()
	exit, err := c.exec(s.req, cmd.host).Run(ctx, cmd)
	_ = lines.Close()
	well := err == nil && exit.Code == 0
	steps.end(well)
	if !well {
		return newBuildError(step, exit, err, lines.Tail(2*shownLines), s.req.Python.Version)
	}
	if each != nil && events == nil {
		s.tell(Progress{Time: c.now(), Step: step, Text: "done", Took: max(c.now().Sub(start), time.Millisecond)})
	}
	return nil
}

// venv makes the bare virtual environment at its final path.
func (s *site) venv(ctx context.Context) error {
	args := []string{s.req.Python.Path, "-I", "-m", "venv", "--without-pip"}
	if s.req.SystemSite {
		args = append(args, "--system-site-packages")
	}
	err := s.run(ctx, "venv", Cmd{
		Args: append(args, s.path), Dir: s.work,
		Env: []string{"PATH=" + defaultPath, "LANG=C.UTF-8", "HOME=" + filepath.Join(s.work, "home")},
	})
	crash.Point("env.venv")
	return err
}
