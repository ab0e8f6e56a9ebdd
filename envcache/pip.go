package envcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/samber/lo"

	"agentctl/envcache/internal/tree"
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
	// over is the lock of what is installed already; variables are set meanwhile.
	over      Lock
	variables []string
}

func (b *pipBuilder) plan(ctx context.Context, req Request, say func(Progress)) (plan, error) {
	list, err := resolveRequirements(asked(req), req.Constraints, req.BaseDir, b.state)
	if err != nil {
		return plan{}, err
	}
	p := &pipPlan{list: list, access: newAccess(b.getenv, req, list.logins)}
	if p.tool, err = b.tools.get(ctx, req.Python, p.access, say); err != nil {
		return plan{}, err
	}
	out := plan{
		parts: p.parts(req), wishes: []string{requirementsPart, "options", "constraints"},
		unpinned: list.unpinned, notes: list.notes, secrets: p.secrets, reads: []string{p.tool.dir},
		build: func(ctx context.Context, s *site) error { return b.build(ctx, s, p) },
	}
	if req.Lock != nil {
		out.parts, out.unpinned = lockParts(out.parts, out.wishes, *req.Lock), false
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
		{Name: "manager", Value: p.tool.identity()},
		{Name: requirementsPart, Lines: p.list.canon},
		{Name: "options", Lines: p.list.options},
		{Name: "constraints", Lines: p.list.constrCanon},
	}, p.access.parts()...)
	parts = append(parts, systemParts(req)...)
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

// indexOption are the options of a list that say where packages come from.
var indexOption = regexp.MustCompile(`^--(index-url|extra-index-url|find-links|trusted-host) `)

// install runs pip. Whatever may be secret or long goes to it by files. What pip
// resolved the list to is in its report, which it writes before it installs: if
// another environment turns out to have the same packages, pip is ended there.
func (b *pipBuilder) install(ctx context.Context, s *site, p *pipPlan, dir string) error {
	home := filepath.Join(s.work, "home")
	cache, err := s.downloads(ManagerPip)
	if err != nil {
		return err
	}
	if err := s.unlock(ctx, p.access, p.list.links...); err != nil {
		return err
	}
	args, err := s.keepingPip(p.tool)
	if err != nil {
		return err
	}
	args = append(args, "--no-input", "--no-color",
		"--disable-pip-version-check", "--no-warn-script-location", "--progress-bar", p.tool.progress(), "--no-compile",
		"--cache-dir", cache, "-r", filepath.Join(home, "requirements.txt"))
	if len(p.list.constraints) > 0 {
		if err := s.private(home, "constraints.txt", strings.Join(p.list.constraints, "\n")+"\n"); err != nil {
			return err
		}
		args = append(args, "-c", filepath.Join(home, "constraints.txt"))
	}
	if p.tool.reports() {
		args = append(args, "--report", filepath.Join(s.work, "home", pipReport))
	}
	run := func(ctx context.Context, r pipRun) error {
		if err := s.private(home, "requirements.txt", strings.Join(r.lines, "\n")+"\n"); err != nil {
			return err
		}
		return s.run(ctx, "pip", Cmd{Args: slices.Concat(args, r.args), Dir: dir, Env: s.env(b.getenv, p.access, p.variables...)})
	}
	if s.req.Lock != nil {
		err = b.installLock(ctx, s, p, run)
	} else {
		err = b.installList(ctx, s, p, run)
	}
	var failed *BuildError
	if errors.As(err, &failed) {
		failed.Cause = cmp.Or(diagnose(ctx, failed, p), failed.Cause)
	}
	if err != nil {
		return err
	}
	return s.compile(ctx)
}

// installList has pip resolve the list and install it.
func (b *pipBuilder) installList(ctx context.Context, s *site, p *pipPlan, run func(context.Context, pipRun) error) error {
	p.over.Indexes = lo.Filter(p.list.options, func(o string, _ int) bool { return indexOption.MatchString(o) })
	err := s.reported(ctx, p.tool.reports() && p.over.Manager != "", p.over, func(ctx context.Context) error {
		return run(ctx, pipRun{lines: append(p.settings.lines(), p.list.lines...)})
	})
	if err == nil {
		s.keepDownloads()
	}
	return err
}
