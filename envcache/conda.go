package envcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/samber/lo"

	"agentctl/envcache/internal/secret"
)

// condaBuilder builds with packages of conda channels, through py-rattler: the
// host needs no conda. The interpreter comes from the channels, too.
type condaBuilder struct {
	state  string
	tools  *toolbox
	exec   Exec
	getenv func(string) string
}

// condaPlan is one installation by conda, and by pip what conda lacks.
type condaPlan struct {
	*access
	conf     condaSettings
	client   func(context.Context, func(Progress)) (tool, error) // fetched when it is first needed
	identity string
	pip      pipTool
	channels []string
	specs    []string       // what must come from the channels
	wishes   []condaWish    // what comes from them if they have it, else from the index
	covered  []condaWish    // what the specs ask for already
	explicit []condaPackage // packages at their places: nothing is solved
	list     reqList        // what is pip's, the wishes among it
	virtual  []string
	glibc    string // version of another root's; "" for the host's
	channelLogins
	auth  condaLogins // what was found of them
	more  []string    // variables of environment.yml
	notes []string
}

func (b *condaBuilder) plan(ctx context.Context, req Request, say func(Progress)) (plan, error) {
	if req.Root != nil && req.Host == nil { // scripts of packages would run outside of any sandbox
		return plan{}, errors.New("conda can't build for an image here: there is no sandbox of the host's programs")
	}
	p := &condaPlan{}
	file, err := b.read(req, p)
	if err != nil {
		return plan{}, err
	}
	p.access = newAccess(b.getenv, req, p.list.logins)
	if err := b.channels(req, file, p); err != nil {
		return plan{}, err
	}
	py, err := b.tools.interpreter(ctx, products[ManagerConda], req)
	if err != nil {
		return plan{}, err
	}
	if p.pip, err = b.tools.wanted(ctx, py, req.Versions[ManagerPip], p.access, say); err != nil {
		return plan{}, err
	}
	if err := b.tools.compile(ctx, p.pip, py); err != nil {
		return plan{}, err
	}
	p.client = func(ctx context.Context, say func(Progress)) (tool, error) {
		return b.tools.get(ctx, ManagerConda, req, p.access, say)
	}
	p.identity = b.tools.named(ManagerConda, req).identity
	if req.Root != nil {
		if p.glibc, err = b.tools.finder.probes.glibcIn(ctx, req.Root, req.UID, req.GID); err != nil {
			return plan{}, err
		}
	}
	if len(p.explicit) == 0 { // else nothing is assumed of the host
		if p.virtual, err = b.virtual(ctx, p, say); err != nil {
			return plan{}, err
		}
	}
	out := plan{
		parts: p.parts(req), wishes: condaAnswers, brings: true, unpinned: p.unpinned(),
		notes: append(p.notes, p.list.notes...), secrets: p.secrets, reads: []string{p.pip.dir},
		build: func(ctx context.Context, s *site) error { return b.build(ctx, s, p) },
	}
	if req.Lock != nil {
		out.parts, out.unpinned = lockParts(out.parts, out.wishes, *req.Lock), false
	}
	return out, nil
}

// condaAnswers are the parts that a lock answers.
var condaAnswers = []string{
	requirementsPart, "options", "constraints", "python version", "channels", "conda packages", "explicit list", virtualPart, flagsPart,
}

// parts are what decides the content of the environment.
func (p *condaPlan) parts(req Request) []Part {
	parts := append([]Part{
		{Name: managerPart, Value: p.identity + " and " + p.pip.identity()},
		{Name: "channels", Lines: p.channels},
		{Name: "conda packages", Lines: p.specs},
		{Name: "explicit list", Lines: lo.Map(p.explicit, func(c condaPackage, _ int) string { return c.line() })},
		{Name: requirementsPart, Lines: p.list.canon},
		{Name: "options", Lines: p.list.options},
		{Name: "constraints", Lines: p.list.constrCanon},
		{Name: virtualPart, Lines: p.virtual},
		{Name: "variables", Lines: p.more},
	}, append(p.access.parts(), flagParts(req)...)...)
	if p.list.local {
		// Its path stands for the repository's content.
		parts = append(parts, Part{Name: "repository", Value: req.BaseDir})
	}
	return parts
}

// unpinned: a version without a build gets a new one next month.
func (p *condaPlan) unpinned() bool {
	if len(p.explicit) > 0 {
		return p.list.unpinned || !lo.EveryBy(p.explicit, condaPackage.known)
	}
	return p.list.unpinned || len(p.wishes) > 0 || !lo.EveryBy(p.specs, func(s string) bool { return parseCondaSpec(s).exact() })
}

// read finds out what is asked for: a lock, a file of the repository, conda's own
// lines or pip's.
func (b *condaBuilder) read(req Request, p *condaPlan) (file condaFile, err error) {
	if req.Project.Kind == ProjectConda {
		if file, err = readCondaFile(req.BaseDir, req.Project.File); err != nil {
			return file, err
		}
		p.more, p.notes = file.variables, file.notes
	}
	pip, dir := req.Requirements, "."
	if req.SystemSite {
		p.notes = append(p.notes, "the packages of the host's Python are not shown: a conda environment has a Python of its own")
	}
	switch text := strings.Join(req.CondaRequirements, "\n"); {
	case req.Lock != nil:
		file.explicit, file.logins, err = parseExplicit(strings.Join(req.Lock.Conda, "\n"))
		pip = slices.Concat(req.Lock.Indexes, req.Lock.Packages)
	case req.Project.Kind == ProjectConda:
		pip, dir = file.pip, file.dir
	case isExplicit(text):
		file.explicit, file.logins, err = parseExplicit(text)
	default:
		file.specs = condaLines(text)
	}
	if err != nil {
		return file, fmt.Errorf("cannot read the conda packages: %w", err)
	}
	if p.list, err = resolveRequirementsIn(dir, pip, req.Constraints, req.BaseDir, b.state); err != nil {
		return file, err
	}
	p.explicit = file.explicit
	if len(p.explicit) > 0 {
		return file, nil
	}
	if req.Lock != nil {
		return file, errors.New("cannot build with conda: the lock names no conda packages")
	}
	if req.Project.Kind != ProjectConda {
		p.wishes = condaWishes(p.list)
		p.wishes, p.covered = uncovered(p.wishes, file.specs)
	}
	return file, nil
}

// condaLines are the specs in a text of lines.
func condaLines(text string) []string {
	var specs []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			specs = append(specs, line)
		}
	}
	return specs
}

// channels decides where packages come from, in this order: the request, the
// repository's file, the host's own settings, conda-forge.
func (b *condaBuilder) channels(req Request, file condaFile, p *condaPlan) (err error) {
	if p.conf, err = hostCondaSettings(b.getenv); err != nil {
		return err
	}
	c := &channelList{conf: p.conf, base: req.BaseDir, private: b.state, dir: cmp.Or(file.dir, "."), logins: file.logins}
	names, host := req.CondaChannels, false
	switch {
	case len(names) > 0:
		c.base = "" // they are the operator's
	case len(file.channels) > 0:
		names = file.channels
	default:
		names, host = p.conf.channels, true
	}
	if len(names) == 0 {
		names = []string{"conda-forge"}
	}
	for _, name := range names {
		if err := c.add(name); err != nil {
			return err
		}
	}
	own := []string{}
	if host {
		own = slices.Clone(c.names)
	}
	if err := p.specify(req, file.specs, c); err != nil {
		return err
	}
	for _, proxy := range p.conf.proxies {
		_, login := secret.SplitURL(proxy)
		p.secrets.Add(login)
	}
	p.channels, p.notes = c.names, append(p.notes, c.notes...)
	listed := lo.Uniq(lo.Map(p.explicit, func(e condaPackage, _ int) string { return e.channel() }))
	if !lo.Every(own, listed) {
		own = nil
	}
	p.channelLogins = channelLogins{stood: c.logins, asked: append(slices.Clone(c.names), listed...), own: own}
	return nil
}
