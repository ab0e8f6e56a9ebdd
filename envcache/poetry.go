package envcache

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	"github.com/samber/lo"

	"agentctl/envcache/internal/secret"
)

// poetryOldest is the oldest major version of poetry that poetry.py fits.
const poetryOldest = 2

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

var poetryWishes = []string{projectPart, filePart, groupsPart, extrasPart}

func (b *poetryBuilder) plan(ctx context.Context, req Request, say func(Progress)) (plan, error) {
	switch {
	case req.Lock != nil && req.Lock.File == "":
		return b.planLock(ctx, req, say)
	case req.Project.Kind == "" && req.Lock == nil:
		out, err := b.pip.plan(ctx, req, say)
		out.notes = append(out.notes, "no project of poetry is asked for: pip installs the list")
		return out, err
	}
	if v := req.Versions[ManagerPoetry]; v != "" && numbers(v)[0] < poetryOldest {
		return plan{}, fmt.Errorf("poetry %s is too old: %d.0 is the oldest that can be used", shorten(v), poetryOldest)
	}
	p := &poetryPlan{access: newAccess(b.getenv, req, nil)}
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
	if req.Lock != nil && req.Lock.SHA256 != p.lockSum() {
		return plan{}, fmt.Errorf("the repository's %s is not the one of the lock", p.lockName())
	}
	for _, s := range p.sources() {
		_, login := secret.SplitURL(s.url)
		p.secrets.Add(login)
	}
	if p.pip, err = b.tools.wanted(ctx, req.Python, req.Versions[ManagerPip], p.access, say); err != nil {
		return plan{}, err
	}
	out := plan{
		parts: p.parts(req, b.tools.named(ManagerPoetry, req).identity), wishes: poetryWishes,
		unpinned: p.lock == nil, secrets: p.secrets, reads: []string{p.pip.dir}, notes: p.notes(req),
		build: func(ctx context.Context, s *site) error { return b.build(ctx, s, p) },
	}
	if p.local {
		out.wishes = nil // the lock names the repository's packages, not what is in them
	}
	return out, nil
}

// planLock plans what an earlier request was resolved to. Its packages are known
// by their digests, so pip installs them, from what was downloaded if it can.
func (b *poetryBuilder) planLock(ctx context.Context, req Request, say func(Progress)) (plan, error) {
	out, err := b.pip.plan(ctx, req, say)
	if err != nil {
		return plan{}, err
	}
	p := &poetryPlan{access: newAccess(b.getenv, req, nil)}
	if p.pip, err = b.tools.wanted(ctx, req.Python, req.Versions[ManagerPip], p.access, say); err != nil {
		return plan{}, err
	}
	out.parts, out.wishes = lockParts(p.parts(req, b.tools.named(ManagerPoetry, req).identity), poetryWishes, *req.Lock), poetryWishes
	return out, nil
}

// parts are what decides the content of the environment, beyond the interpreter.
func (p *poetryPlan) parts(req Request, identity string) []Part {
	parts := []Part{
		{Name: "manager", Value: identity},
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

func (p *poetryPlan) notes(req Request) []string {
	notes := noFlags(req, ManagerPoetry)
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

func (p *poetryProject) lockSum() string {
	if p.lock == nil {
		return ""
	}
	sum := sha256.Sum256(p.lock)
	return hex.EncodeToString(sum[:])
}
