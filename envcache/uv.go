package envcache

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
)

// uvOldest is the oldest uv whose options are used here.
var uvOldest = []int{0, 8, 4}

// uvBuilder builds with a private uv.
type uvBuilder struct {
	state  string
	tools  *toolbox
	getenv func(string) string
}

// uvPlan is one installation by uv. The environment gets the private pip as
// well: a task may install with it at run time.
type uvPlan struct {
	pipPlan
	uv      tool
	options uvOptions
	noDeps  bool
	file    *uvFile // nil: the list
}

// uvFile is a lock file of the repository, as it was planned.
type uvFile struct {
	project  Project
	sha256   string
	settings string // digest of what beside the lock decides the content
	local    bool   // something is installed from the repository
	registry []string
	links    []string // where else packages come from
	indexed  bool     // the project itself says which indexes
}

func (b *uvBuilder) plan(ctx context.Context, req Request, say func(Progress)) (plan, error) {
	p := &uvPlan{}
	if err := b.read(p, req); err != nil {
		return plan{}, err
	}
	req, notes := req.withTorch(p.list)
	p.access, p.uv = newAccess(b.getenv, req, p.list.logins), b.tools.named(ManagerUV, req)
	p.options.addIndexes(p.settings)
	if n := numbers(p.uv.version); slices.Compare(n[:], uvOldest) < 0 {
		return plan{}, fmt.Errorf("uv %s is too old: %d.%d.%d is the oldest that can be used", p.uv.version, uvOldest[0], uvOldest[1], uvOldest[2])
	}
	var err error
	if p.tool, err = b.tools.pipTools.get(ctx, req.Python, p.access, say); err != nil {
		return plan{}, err
	}
	out := plan{
		parts: p.parts(req), unpinned: p.list.unpinned || req.maybe(p.list), notes: slices.Concat(p.list.notes, p.options.notes, notes),
		secrets: p.secrets, reads: []string{p.tool.dir},
		build: func(ctx context.Context, s *site) error { return b.build(ctx, s, p) },
	}
	if p.file == nil {
		out.wishes = []string{requirementsPart, "options", "constraints", flagsPart}
	}
	if req.Lock != nil && p.file == nil {
		out.parts, out.unpinned = lockParts(out.parts, out.wishes, *req.Lock), false
	}
	return out, nil
}

// read learns what is to be installed: from a file of the repository, or from
// the list of the request or of its lock.
func (b *uvBuilder) read(p *uvPlan, req Request) error {
	project, lines, constraints := req.Project, asked(req), req.Constraints
	if req.Lock != nil {
		project, constraints = projectOf(*req.Lock), nil
	}
	switch project.Kind {
	case "":
	case ProjectScript:
		var err error
		if lines, err = readScript(req, project.File); err != nil {
			return err
		}
	case ProjectUV, ProjectPylock:
		file, err := readUVFile(req, project)
		p.file, p.options.notes = file, noFlags(req, project.Kind)
		return err
	default:
		return fmt.Errorf("uv can't read %s", shorten(project.File))
	}
	var err error
	if p.list, err = resolveRequirements(lines, constraints, req.BaseDir, b.state); err != nil {
		return err
	}
	var notes []string
	if req.Lock == nil {
		p.noDeps, notes = uvFlags(&p.list, req)
	}
	p.options, err = uvOptionsOf(&p.list, req.BaseDir != "")
	p.options.notes = append(p.options.notes, notes...)
	return err
}

// projectOf is the file that a lock stands for; none for one with packages.
func projectOf(l Lock) Project {
	switch {
	case l.File == "":
		return Project{}
	case path.Base(l.File) == ProjectUV:
		return Project{ProjectUV, l.File}
	}
	return Project{ProjectPylock, l.File}
}

func readScript(req Request, file string) ([]string, error) {
	root, err := os.OpenRoot(req.BaseDir)
	if err != nil {
		return nil, fmt.Errorf("cannot read the script: %w", err)
	}
	defer func() { _ = root.Close() }()
	data, err := readLimited(root, file, mostScript)
	if err != nil {
		return nil, fmt.Errorf("cannot read the script: %w", err)
	}
	h, err := parseHeader(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	ok, err := satisfies(req.Python.Version, h.RequiresPython)
	if err != nil {
		return nil, fmt.Errorf("%s: requires-python: %w", file, err)
	}
	if !ok {
		return nil, fmt.Errorf("%s asks for Python %s, and this is %s", file, h.RequiresPython, req.Python.Version)
	}
	lines, err := h.lines()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return lines, nil
}

// parts are those of pip, by another manager.
func (p *uvPlan) parts(req Request) []Part {
	parts := p.pipPlan.parts(req)
	parts[0].Value = p.uv.identity
	parts = slices.Insert(parts, 1, Part{Name: "pip", Value: p.tool.identity()})
	if f := p.file; f != nil {
		parts = append(
			parts,
			Part{Name: f.project.Kind, Value: f.sha256},
			Part{Name: "project settings", Value: f.settings},
			Part{Name: "groups", Lines: sorted(req.Groups)},
			Part{Name: "extras", Lines: sorted(req.Extras)},
		)
		if f.local {
			parts = append(parts, Part{Name: "repository", Value: req.BaseDir}, Part{Name: "project", Value: f.project.File})
		}
	}
	return parts
}

func sorted(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }

func plainDigest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func (b *uvBuilder) build(ctx context.Context, s *site, p *uvPlan) error {
	if err := b.tools.compile(ctx, p.tool, s.req.Python); err != nil {
		return err
	}
	var err error
	if p.uv, err = b.tools.get(ctx, ManagerUV, s.req, p.access, s.tell); err != nil {
		return err
	}
	u, err := b.open(ctx, s, p)
	if err != nil {
		return err
	}
	switch {
	case p.file == nil:
		err = u.list(ctx)
	case p.file.project.Kind == ProjectUV:
		err = u.project(ctx)
	default:
		err = u.pylock(ctx)
	}
	var failed *BuildError
	if errors.As(err, &failed) {
		failed.Cause = cmp.Or(u.notFound(ctx, failed), uvCause(failed, s.req.Python.Version), failed.Cause)
	}
	if err == nil {
		err = s.compile(ctx)
	}
	if err != nil {
		return err
	}
	return u.tidy()
}

// tidy removes what uv leaves in an environment: a lock that everybody may
// write, and the mark of a folder that needs no backup.
func (u *uvRun) tidy() error {
	var err error
	for _, name := range []string{".lock", ".gitignore", "CACHEDIR.TAG", path.Dir(checkout) + "/" + uvOwn} {
		if e := u.s.root.RemoveAll(name); e != nil && !errors.Is(e, os.ErrNotExist) {
			err = errors.Join(err, e)
		}
	}
	switch {
	case u.p.list.editable, u.p.file != nil && u.p.file.local:
		return errors.Join(err, u.s.root.RemoveAll(checkout+"/.git"))
	case u.p.list.local:
		return errors.Join(err, u.s.root.RemoveAll(checkout))
	}
	return err
}

// where is the project's folder, relative to the repository.
func (f *uvFile) where() string { return path.Dir(f.project.File) }

// check tells whether the file is the one that a lock was made of.
func (f *uvFile) check(l *Lock) error {
	if l != nil && !strings.EqualFold(l.SHA256, f.sha256) {
		return fmt.Errorf("%s is not the one of the lock: its SHA-256 is %s, the lock's %s", f.project.File, f.sha256, shorten(l.SHA256))
	}
	return nil
}
