package envcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/samber/lo"

	"agentctl/envcache/internal/secret"
	"agentctl/envcache/internal/tree"
)

// pipBuilder builds with the private pip.
type pipBuilder struct {
	state  string
	tools  *pipTools
	getenv func(string) string
}

// pipPlan is one installation by pip, credentials apart.
type pipPlan struct {
	list     reqList
	settings pipSettings // where packages come from, as it will be told to pip
	netrc    string      // the operator's file and what stood in URLs
	stored   string      // git's credentials, in the format of git-credential-store
	machines []secret.Machine
	tool     pipTool
}

func (b *pipBuilder) plan(ctx context.Context, req Request, say func(Progress)) (plan, error) {
	list, err := resolveRequirements(req.Requirements, req.Constraints, req.BaseDir, b.state)
	if err != nil {
		return plan{}, err
	}
	p := &pipPlan{list: list}
	secrets := &secret.Redactor{}
	if p.machines, err = p.credentials(req, b.indexes(req, p), secrets); err != nil {
		return plan{}, err
	}
	if p.tool, err = b.tools.get(ctx, req.Python, pipSource{p.settings, p.machines}, say); err != nil {
		return plan{}, err
	}
	out := plan{
		parts: p.parts(req), unpinned: list.unpinned, notes: list.notes, secrets: secrets,
		reads: []string{p.tool.dir},
		build: func(ctx context.Context, s *site) error { return b.build(ctx, s, p) },
	}
	if p.tool.note != "" {
		out.notes = append(out.notes, p.tool.note)
	}
	return out, nil
}

// parts are what decides the content of the environment, beyond the interpreter.
func (p *pipPlan) parts(req Request) []Part {
	parts := []Part{
		{Name: "manager", Value: p.tool.identity()},
		{Name: "requirements", Lines: p.list.canon},
		{Name: "options", Lines: p.list.options},
		{Name: "constraints", Lines: p.list.constrCanon},
		{Name: "index", Value: trimSlash(p.settings.index)},
		{Name: "extra indexes", Lines: lo.Map(p.settings.extra, func(s string, _ int) string { return trimSlash(s) })},
		{Name: "system packages", Value: strconv.FormatBool(req.SystemSite)},
	}
	if req.SystemSite {
		parts = append(parts, Part{Name: "system packages changed", Lines: lo.Map(req.Python.Sites, stamp)})
	}
	if p.list.local {
		// Its path stands for the repository's content.
		parts = append(parts, Part{Name: "repository", Value: req.BaseDir})
	}
	return parts
}

func trimSlash(s string) string { return strings.TrimRight(s, "/") }

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
	if err := installTool(s, p); err != nil {
		return fmt.Errorf("cannot put pip into the environment: %w", err)
	}
	if len(p.list.canon) == 0 {
		return nil
	}
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

// install runs pip. Whatever may be secret or long goes to it by files.
func (b *pipBuilder) install(ctx context.Context, s *site, p *pipPlan, dir string) error {
	home := filepath.Join(s.work, "home")
	cache, err := b.cacheDir(s)
	if err != nil {
		return err
	}
	var lines []string
	if p.settings.index != "" {
		lines = append(lines, "--index-url "+p.settings.index)
	}
	for _, x := range p.settings.extra {
		lines = append(lines, "--extra-index-url "+x)
	}
	args := []string{
		filepath.Join(s.path, "bin", "python"), "-I", p.tool.program(), "install", "--no-input", "--no-color",
		"--disable-pip-version-check", "--no-warn-script-location", "--progress-bar", p.tool.progress(), "--compile",
		"--cache-dir", cache, "-r", filepath.Join(home, "requirements.txt"),
	}
	files := map[string]string{"requirements.txt": strings.Join(append(lines, p.list.lines...), "\n") + "\n"}
	if len(p.list.constraints) > 0 {
		files["constraints.txt"] = strings.Join(p.list.constraints, "\n") + "\n"
		args = append(args, "-c", filepath.Join(home, "constraints.txt"))
	}
	files[".netrc"], files["git-credentials"] = p.netrc, p.stored
	for name, text := range files {
		if err := s.private(home, name, text); err != nil {
			return err
		}
	}
	err = s.run(ctx, "pip", Cmd{Args: args, Dir: dir, Env: b.env(s, p, home)})
	var failed *BuildError
	if errors.As(err, &failed) {
		failed.Cause = cmp.Or(diagnose(ctx, failed, p), failed.Cause)
	}
	return err
}
