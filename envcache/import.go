package envcache

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/samber/lo"

	"agentctl/envcache/internal/relocate"
	"agentctl/envcache/internal/secret"
	"agentctl/internal/crash"
	"agentctl/internal/shelf"
)

// ImportOptions say for whom an environment is imported.
type ImportOptions struct {
	// Python is a version or a path; "" is what this host has of the version that
	// the environment was built with.
	Python string
	// UID and GID own the environment, as the tasks that use it; SameUser: this process.
	UID, GID int
}

// Import makes an environment out of an archive that Export wrote, on this host
// or another, so that the request that built it there finds it here. The lease
// has Hit set if it, or one with the same packages, was here already.
//
// Nothing in the archive is trusted to be what it says, but what it holds will
// run in tasks: whoever imports it answers for that.
func (c *Cache) Import(ctx context.Context, r io.Reader, opts ImportOptions, progress func(Progress)) (*Lease, error) {
	if progress == nil {
		progress = func(Progress) {}
	}
	l, err := c.importing(ctx, r, opts, progress)
	if err != nil {
		return nil, fmt.Errorf("cannot import an environment: %w", err)
	}
	return l, nil
}

func (c *Cache) importing(ctx context.Context, r io.Reader, opts ImportOptions, say func(Progress)) (*Lease, error) {
	from, err := openArchive(r)
	if err != nil {
		return nil, err
	}
	defer from.close()
	if _, ok := c.builders[from.Record.Manager]; !ok {
		return nil, fmt.Errorf("it is one of %q, which this agentctl does not know", shorten(from.Record.Manager))
	}
	if size, free := from.manifest.bytes(), shelf.Free(c.shelf.Dir()); size > free {
		return nil, fmt.Errorf("its files have %d bytes, and %d are free on the disk", size, free)
	}
	i := importer{cache: c, from: from, uid: opts.UID, gid: opts.GID}
	if err := i.findPython(ctx, opts.Python); err != nil {
		return nil, err
	}
	if err := from.takeTool(ctx, c.tools.pipTools); err != nil {
		return nil, err
	}
	if err := i.findTool(ctx, say); err != nil {
		return nil, err
	}
	i.findVirtual(ctx, say)
	a, named := i.acquisition(say)
	if err := i.freshen(ctx, a); err != nil {
		return nil, err
	}
	l, err := a.lease(ctx)
	if err != nil {
		return nil, err
	}
	// The index may have been named after all, by the URL that the host there had.
	if err := i.nameAll(ctx, a, named, l); err != nil {
		_ = l.Close()
		return nil, err
	}
	return l, nil
}

// importer is the import of one archive.
type importer struct {
	cache    *Cache
	from     *archiveReader
	uid, gid int
	py       Interpreter // of this host; none if the environment brings one
	tool     pipTool     // that the environment uses; none if it uses none
	pipThere string      // what it was called where the environment was built
	virtual  []string    // packages that conda takes this host for
}

// findPython finds the interpreter that takes the place of the one that the
// environment was built with.
func (i *importer) findPython(ctx context.Context, want string) error {
	n := i.from.Needs
	if n.Brings {
		return nil // the environment's own is asked when it is in place
	}
	if want == "" {
		want = minor(n.Version)
	}
	py, _, err := i.cache.tools.finder.Find(ctx, want, OnMissingFail, i.uid, i.gid)
	if err != nil {
		return err
	}
	lacks := n.unmet(py)
	here := distributions(py.Sites)
	if missing := lo.Without(i.from.System, here...); len(missing) > 0 {
		lacks = append(lacks, "packages of the interpreter itself, not here "+shorten(strings.Join(missing, ", ")))
	}
	if len(lacks) > 0 {
		return fmt.Errorf("with %s this host can't use it, which needs: %s", py.Path, strings.Join(lacks, "; "))
	}
	i.py = py
	return nil
}

// findTool finds the pip that tasks in the environment get, and that a request
// for it on this host has in its key.
func (i *importer) findTool(ctx context.Context, say func(Progress)) error {
	rec := i.from.Record
	used, ok := lo.Find(rec.Reads, func(dir string) bool { return strings.HasPrefix(filepath.Base(dir), "pip-") })
	if !ok {
		return nil
	}
	i.pipThere = filepath.Base(used)
	py, err := i.py, error(nil)
	if i.from.Needs.Brings { // its builder runs pip by the host's own
		py, err = i.cache.tools.interpreter(ctx, products[rec.Manager], Request{UID: i.uid, GID: i.gid})
	}
	if err != nil {
		return err
	}
	tool, err := i.cache.tools.pipTools.get(ctx, py, newAccess(i.cache.opts.Getenv, Request{}, nil), say)
	if err == nil {
		err = i.cache.tools.compile(ctx, tool, py)
	}
	i.tool = tool
	return err
}

// acquisition is the way of the request that built the environment, whose build
// is to lay out the archive. It also gives the parts of one that names its index.
func (i *importer) acquisition(say func(Progress)) (*acquisition, []Part) {
	c, rec := i.cache, i.from.Record
	req := Request{
		Manager: rec.Manager, Python: i.py, UID: i.uid, GID: i.gid,
		SystemSite: valueOf(rec.Parts, systemPart) == "true",
	}
	p := plan{
		wishes: rec.Wishes, brings: i.from.Needs.Brings, secrets: &secret.Redactor{},
		unpinned: valueOf(rec.Parts, agePart) != "",
		origin:   fmt.Sprintf("imported; built %s at %s", i.from.Created.Local().Format("2006-01-02 15:04:05"), i.from.Path),
		build:    i.build,
	}
	if i.tool.dir != "" {
		p.reads = []string{i.tool.dir}
	}
	p.reads = append(p.reads, c.finder.reads(i.py)...)
	parts := i.parts(req)
	return &acquisition{cache: c, req: req, plan: p, parts: i.hosted(parts), start: c.now(), say: say}, parts
}

// build makes the environment of what is in the archive.
func (i *importer) build(ctx context.Context, s *site) error {
	rec := i.from.Record
	if rec.Lock != nil {
		lock := *rec.Lock
		if !i.from.Needs.Brings {
			lock.Python = i.py.Version
		}
		if err := s.locked(ctx, lock); err != nil {
			return err
		}
	}
	to := layout{root: s.root, uid: -1}
	if switches(s.uid) {
		to.uid, to.gid = s.uid, s.gid
	}
	if !i.from.Needs.Brings {
		// What leads to the interpreter is this host's own.
		if err := s.venv(ctx); err != nil {
			return err
		}
		to.keep = leadsToPython
	}
	s.say("import", fmt.Sprintf("%d files, %d MB", len(i.from.manifest), i.from.manifest.bytes()/1e6))
	if err := i.from.unpack(ctx, to); err != nil {
		return err
	}
	crash.Point("import.unpacked")
	if err := i.usePip(s); err != nil {
		return err
	}
	if err := i.move(ctx, s); err != nil {
		return err
	}
	crash.Point("import.moved")
	return i.try(ctx, s)
}

// leadsToPython tells which files of an environment name its interpreter.
func leadsToPython(it item) bool {
	return it.path == "pyvenv.cfg" || it.kind == 'l' && filepath.Dir(it.path) == "bin" && strings.HasPrefix(filepath.Base(it.path), "python")
}

// usePip lets the environment find the private pip of this host.
func (i *importer) usePip(s *site) error {
	if i.tool.dir == "" {
		return nil
	}
	sites, err := sitePackages(s.root)
	if err != nil {
		return err
	}
	return s.write(filepath.Join(sites, pthName), i.tool.dir+"\n", 0o644)
}

// move makes the environment, which speaks of the place where it was built, speak
// of this one.
func (i *importer) move(ctx context.Context, s *site) error {
	old := i.from.Path
	s.variables = moved(i.from.Record.Variables, old, s.path)
	if old == s.path {
		return nil
	}
	skip := func(rel string) bool { return rel == "pyvenv.cfg" && !i.from.Needs.Brings }
	done, err := relocate.Tree(ctx, s.path, relocate.Move{Old: old, New: s.path, Skip: skip})
	if err != nil || len(done.Sources) == 0 {
		return err
	}
	return s.compileFiles(ctx, done.Sources)
}

// try runs the interpreter in its new place.
func (i *importer) try(ctx context.Context, s *site) error {
	python := filepath.Join(s.path, "bin", "python")
	py, err := i.cache.tools.finder.probes.ask(ctx, python, s.uid, s.gid)
	if err != nil {
		return fmt.Errorf("its Python does not run on this host: %w", err)
	}
	if lacks := i.from.Needs.unmet(py); len(lacks) > 0 {
		return fmt.Errorf("this host can't use it, which needs: %s", strings.Join(lacks, "; "))
	}
	if py.Prefix != s.path {
		return fmt.Errorf("its Python takes %s for its place, not %s", shorten(py.Prefix), s.path)
	}
	return nil
}
