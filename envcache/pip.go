package envcache

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/samber/lo"

	"agentctl/internal/tree"
)

// pipBuilder builds with the private pip.
type pipBuilder struct {
	state  string
	tools  *pipTools
	getenv func(string) string
}

// pipPlan is one installation by pip.
type pipPlan struct {
	*access
	list reqList
	tool pipTool
	// ordered: the request's order of installation counts, and is in the key.
	ordered bool
	lacking map[string]bool // optional packages that could not be installed
	// over is the lock of what is installed already; variables are set meanwhile.
	over      Lock
	variables []string
}

func (b *pipBuilder) plan(ctx context.Context, req Request, say func(Progress)) (plan, error) {
	list, err := resolveRequirements(asked(req), req.Constraints, req.BaseDir, b.state)
	if err != nil {
		return plan{}, err
	}
	req, notes := req.withTorch(list)
	p := &pipPlan{list: list, ordered: true, lacking: map[string]bool{}, access: newAccess(b.getenv, req, list.logins)}
	if p.tool, err = b.tools.wanted(ctx, req.Python, req.Versions[ManagerPip], p.access, say); err != nil {
		return plan{}, err
	}
	out := plan{
		parts: p.parts(req), wishes: []string{requirementsPart, "options", "constraints", orderPart, flagsPart},
		unpinned: list.unpinned || req.maybe(list), notes: append(list.notes, notes...), secrets: p.secrets, reads: []string{p.tool.dir},
		build: func(ctx context.Context, s *site) error { return b.build(ctx, s, p) },
	}
	if req.Lock != nil {
		out.parts, out.unpinned = lockParts(out.parts, answered(*req.Lock, out.wishes), *req.Lock), false
	}
	if p.tool.note != "" {
		out.notes = append(out.notes, p.tool.note)
	}
	return out, nil
}

// asked are the lines that pip is given: the request's, or those of its lock.
func asked(req Request) []string {
	if req.Lock != nil {
		return slices.Concat(req.Lock.Indexes, req.Lock.Packages)
	}
	return req.Requirements
}

// parts are what decides the content of the environment, beyond the interpreter.
func (p *pipPlan) parts(req Request) []Part {
	parts := append([]Part{
		{Name: managerPart, Value: p.tool.identity()},
		{Name: requirementsPart, Lines: p.list.canon},
		{Name: "options", Lines: p.list.options},
		{Name: "constraints", Lines: p.list.constrCanon},
	}, p.access.parts()...)
	if order := p.order(req); order != nil {
		parts = append(parts, Part{Name: orderPart, Lines: order})
	}
	parts = slices.Concat(parts, flagParts(req), systemParts(req))
	if p.list.local {
		// Its path stands for the repository's content.
		parts = append(parts, Part{Name: "repository", Value: req.BaseDir})
	}
	return parts
}

// systemParts are the interpreter's own packages, where the environment shows them.
func systemParts(req Request) []Part {
	parts := []Part{{Name: systemPart, Value: strconv.FormatBool(req.SystemSite)}}
	if req.SystemSite {
		parts = append(parts, Part{Name: systemChangedPart, Lines: lo.Map(req.Python.Sites, stamp)})
	}
	return parts
}

// stamp tells when packages were last added to or removed from a folder.
func stamp(dir string, _ int) string {
	info, err := os.Stat(dir)
	if err != nil {
		return dir + " is not there"
	}
	return dir + " " + strconv.FormatInt(info.ModTime().UnixNano(), 10)
}

const checkout = "src/checkout" // copy of the repository inside an environment

func (b *pipBuilder) build(ctx context.Context, s *site, p *pipPlan) error {
	if err := b.tools.compile(ctx, p.tool, s.req.Python); err != nil {
		return err
	}
	if err := s.venv(ctx); err != nil {
		return err
	}
	if err := installTool(s, p.tool, p.settings); err != nil {
		return fmt.Errorf("cannot put pip into the environment: %w", err)
	}
	if len(p.list.canon) == 0 {
		return s.locked(ctx, Lock{Manager: ManagerPip, Python: s.req.Python.Version})
	}
	p.over = Lock{Manager: ManagerPip, Python: s.req.Python.Version}
	return b.packages(ctx, s, p)
}

// packages installs the list into an environment that has an interpreter.
func (b *pipBuilder) packages(ctx context.Context, s *site, p *pipPlan) error {
	dir := s.work
	if p.list.local {
		// Building a package writes into its folder, and an editable one stays
		// there: neither may happen to the repository that tasks share.
		dir = filepath.Join(s.path, checkout)
		if err := s.mkdir("src"); err != nil {
			return err
		}
		if err := tree.Copy(ctx, s.req.BaseDir, dir, s.uid, s.gid, nil); err != nil {
			return err
		}
	}
	if err := b.install(ctx, s, p, dir); err != nil {
		return err
	}
	switch {
	case p.list.editable:
		return s.root.RemoveAll(checkout + "/.git") // only a version number comes from it
	case p.list.local:
		return s.root.RemoveAll(checkout)
	}
	return nil
}
