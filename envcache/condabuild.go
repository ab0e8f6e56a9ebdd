package envcache

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/samber/lo"
)

func (b *condaBuilder) build(ctx context.Context, s *site, p *condaPlan) (err error) {
	if p.auth, err = p.channelLogins.find(ctx, p.access, b.getenv); err != nil {
		return err
	}
	packages, left := p.explicit, map[string]bool{}
	if len(packages) == 0 {
		if packages, left, err = b.solve(ctx, s, p); err != nil {
			return err
		}
	}
	lock := Lock{Manager: ManagerConda, Conda: lo.Map(packages, func(c condaPackage, _ int) string { return c.line() })}
	for _, c := range packages {
		if name, version := c.nameVersion(); name == "python" {
			lock.Python = version
		}
	}
	if lock.Python == "" {
		return errors.New("cannot build with conda: there is no python among the packages")
	}
	s.req.Python.Version = lock.Python // failures speak of it
	list := p.left(left)
	lockable := lo.EveryBy(packages, condaPackage.known)
	if lockable && !wantsPackages(list) {
		if err := s.locked(ctx, lock); err != nil {
			return err
		}
	}
	if err := b.install(ctx, s, p, packages); err != nil {
		return err
	}
	if err := installTool(s, p.pip, p.settings); err != nil {
		return fmt.Errorf("cannot put pip into the environment: %w", err)
	}
	if wantsPackages(list) {
		if !lockable {
			lock = Lock{}
		}
		if err := b.pip(ctx, s, p, list, lock); err != nil {
			return err
		}
	}
	sites, err := sitePackages(s.root)
	if err != nil {
		return err
	}
	return s.compileTree(ctx, path.Dir(sites)) // the standard library as well: not every channel brings its bytecode
}

// solve finds the packages, and the wishes that the channels don't fulfil.
func (b *condaBuilder) solve(ctx context.Context, s *site, p *condaPlan) ([]condaPackage, map[string]bool, error) {
	events, err := b.ask(ctx, s, p, condaAsk{Op: "solve", Channels: p.channels, Specs: p.specs, Wishes: p.wishes})
	if err != nil {
		return nil, nil, err
	}
	var packages []condaPackage
	left := map[string]bool{}
	for _, e := range events {
		switch {
		case e.Pip != "":
			left[e.Pip] = true
		case e.Package != "":
			c := condaPackage{URL: e.Package, SHA256: e.SHA256, MD5: e.MD5}
			if err := c.check(); err != nil {
				return nil, nil, fmt.Errorf("cannot install %q: %w", shorten(e.Package), err)
			}
			packages = append(packages, c)
		}
	}
	return packages, left, nil
}

// install links the packages into the environment, and learns the variables that
// activating it sets.
func (b *condaBuilder) install(ctx context.Context, s *site, p *condaPlan, packages []condaPackage) error {
	events, err := b.ask(ctx, s, p, condaAsk{Op: "install", Packages: packages, Prefix: s.path, Variables: p.more})
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(events, func(e condaEvent) bool { return e.Script != "" }) {
		s.merge(true)
	}
	for _, e := range events {
		if e.Variable != "" {
			s.variables = append(s.variables, e.Variable)
		}
	}
	return nil
}

// left is the list without the wishes that conda packages fulfil.
func (p *condaPlan) left(left map[string]bool) reqList {
	fulfilled := map[string]bool{}
	for _, w := range append(slices.Clone(p.covered), p.wishes...) {
		fulfilled[w.Line] = !left[w.Line]
	}
	list := p.list
	list.lines = lo.Filter(list.lines, func(l string, _ int) bool { return !fulfilled[l] })
	return list
}

// wantsPackages tells whether a list names any package, besides options.
func wantsPackages(list reqList) bool {
	return lo.SomeBy(list.lines, func(l string) bool { return parseLine(l).kind != lineOption })
}

// pip installs what is left to it, with the interpreter and the variables of the
// environment, as in an activated one.
func (b *condaBuilder) pip(ctx context.Context, s *site, p *condaPlan, list reqList, lock Lock) error {
	if n := s.req.Python.Numbers(); slices.Compare(n[:], pipOldest[:]) < 0 {
		return fmt.Errorf("cannot install by pip: pip %s needs Python %d.%d, and the environment has %s", pipVersion, pipOldest[0], pipOldest[1], s.req.Python.Version)
	}
	variables := lo.Filter(s.variables, func(v string, _ int) bool { return !strings.HasPrefix(v, "PATH=") })
	pb := &pipBuilder{state: b.state, tools: b.tools.pipTools, getenv: b.getenv}
	return pb.packages(ctx, s, &pipPlan{
		access: p.access, list: list, tool: p.pip, over: lock,
		variables: append(variables, "VIRTUAL_ENV="), // some build tools refuse to choose between two environments
	})
}
