package envcache

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/samber/lo"

	"agentctl/envcache/internal/secret"
)

// poetryBuilder installs what a project of poetry depends on, by a private poetry.
// The project itself is not installed: its code is the task's, see ProjectRoots.
type poetryBuilder struct {
	pip    *pipBuilder
	tools  *toolbox
	getenv func(string) string
}

// poetryPlan is one installation by poetry.
type poetryPlan struct {
	*access
	poetryProject
	tool   tool
	pip    pipTool
	groups []string // besides the main one; "*" is all
	extras []string // "*" is all
	local  bool     // packages of the repository are among what gets installed
}

// Parts that poetry's lock answers.
const (
	projectPart = "project"
	filePart    = "lock file"
	groupsPart  = "groups"
	extrasPart  = "extras"
)

func (b *poetryBuilder) plan(ctx context.Context, req Request, say func(Progress)) (plan, error) {
	if l := req.Lock; l != nil && l.File == "" && !hasFile(req.BaseDir, besides(req.Project.File, poetryLockFile)) {
		// Nothing but the lock is left of what was resolved, and pip can install that.
		return b.pip.plan(ctx, req, say)
	}
	p := &poetryPlan{}
	var err error
	if p.poetryProject, err = readPoetryProject(req); err != nil {
		return plan{}, err
	}
	if p.groups, p.extras, err = p.chosen(req); err != nil {
		return plan{}, err
	}
	if p.local, err = p.takesFromRepository(p.groups); err != nil {
		return plan{}, err
	}
	if p.access, err = newAccess(b.getenv, req, nil); err != nil {
		return plan{}, err
	}
	for _, s := range p.sources() {
		_, login := secret.SplitURL(s.url)
		p.secrets.Add(login)
	}
	if p.pip, err = b.tools.pipTools.get(ctx, req.Python, pipSource{p.settings, p.machines}, say); err != nil {
		return plan{}, err
	}
	if p.tool, err = b.tools.get(ctx, ManagerPoetry, req, p.access, say); err != nil {
		return plan{}, err
	}
	return b.planned(p, req)
}

func (b *poetryBuilder) planned(p *poetryPlan, req Request) (plan, error) {
	out := plan{
		parts: p.parts(req), wishes: []string{projectPart, filePart, groupsPart, extrasPart},
		unpinned: p.lock == nil, secrets: p.secrets, reads: []string{p.pip.dir}, notes: p.notes(),
		build: func(ctx context.Context, s *site) error { return b.build(ctx, s, p) },
	}
	if p.local {
		out.wishes = nil // the lock names the repository's packages, not what is in them
	}
	switch l := req.Lock; {
	case l == nil:
	case l.File != "" && l.SHA256 != p.lockSum():
		return plan{}, fmt.Errorf("the repository's %s is not the one that the task was resolved with", p.lockName())
	case l.File == "":
		out.parts, out.unpinned = lockParts(out.parts, out.wishes, *l), false
	}
	return out, nil
}

// parts are what decides the content of the environment, beyond the interpreter.
func (p *poetryPlan) parts(req Request) []Part {
	parts := []Part{
		{Name: "manager", Value: p.tool.identity},
		{Name: "pip", Value: p.pip.identity()},
		{Name: projectPart, Lines: p.lines},
		{Name: filePart, Value: p.lockSum()},
		{Name: groupsPart, Lines: p.groups},
		{Name: extrasPart, Lines: p.extras},
	}
	parts = append(parts, p.access.parts()...)
	parts = append(parts, systemParts(req)...)
	if p.local {
		parts = append(parts, Part{Name: "repository", Value: req.BaseDir})
	}
	return parts
}

func (p *poetryPlan) notes() []string {
	var notes []string
	if plugins := p.doc.table("tool", "poetry", "requires-plugins"); len(plugins) > 0 {
		names := slices.Sorted(slices.Values(lo.Keys(plugins)))
		notes = append(notes, "poetry's plugins that the project asks for are not loaded: "+shorten(strings.Join(names, ", ")))
	}
	if p.lock == nil {
		notes = append(notes, "the repository has no "+p.lockName()+": poetry resolves the project's dependencies anew")
	}
	if p.pip.note != "" {
		notes = append(notes, p.pip.note)
	}
	return notes
}

// chosen are the groups and extras that are asked for, in one spelling and order.
func (p *poetryProject) chosen(req Request) (groups, extras []string, err error) {
	groups, err = pick("dependency group", req.Groups, p.groupNames())
	if err != nil {
		return nil, nil, err
	}
	extras, err = pick("extra", req.Extras, p.extraNames())
	return slices.DeleteFunc(groups, func(g string) bool { return g == mainGroup }), extras, err
}

const mainGroup = "main"

func pick(what string, asked, known []string) ([]string, error) {
	var out []string
	for _, name := range asked {
		switch n := normalName(strings.TrimSpace(name)); {
		case n == "*":
			return []string{"*"}, nil
		case !slices.Contains(known, n):
			return nil, fmt.Errorf("the project has no %s %q; it has: %s", what, shorten(name), cmp.Or(strings.Join(known, ", "), "none"))
		default:
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func hasFile(base, name string) bool {
	root, err := os.OpenRoot(base)
	if err != nil {
		return false
	}
	defer func() { _ = root.Close() }()
	info, err := root.Stat(name)
	return err == nil && info.Mode().IsRegular()
}

func (p *poetryProject) lockSum() string {
	if p.lock == nil {
		return ""
	}
	sum := sha256.Sum256(p.lock)
	return hex.EncodeToString(sum[:])
}

var errNoProject = errors.New("poetry needs a pyproject.toml or a poetry.lock in the repository")
