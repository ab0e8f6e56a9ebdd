package envcache

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/samber/lo"

	"agentctl/envcache/internal/secret"
)

// parts are those of the request that built the environment, as it would be
// asked on this host: what is said of the host is said of this one.
func (i *importer) parts(req Request) []Part {
	old := i.from.Record.Parts
	state := filepath.Dir(filepath.Dir(i.from.Path)) // the state folder it was built in
	brings := i.from.Needs.Brings
	here := map[string]Part{}
	req.PythonWanted = valueOf(old, "python version")
	for _, p := range commonParts(req, i.cache.shelf.Dir(), brings) {
		here[p.Name] = p
	}
	if i.virtual != nil {
		here[virtualPart] = Part{Name: virtualPart, Lines: i.virtual}
	}
	if req.SystemSite {
		here[systemChangedPart] = Part{Name: systemChangedPart, Lines: lo.Map(req.Python.Sites, stamp)}
	}
	placed := func(text string) string {
		if rest, ok := strings.CutPrefix(text, state+"/"); ok {
			return filepath.Join(i.cache.state, rest)
		}
		return text
	}
	return lo.Map(withoutAge(old), func(p Part, _ int) Part {
		if q, ok := here[p.Name]; ok {
			return q
		}
		if p.Value = placed(p.Value); i.pipThere != "" && (p.Name == managerPart || p.Name == pipPart) {
			p.Value = strings.ReplaceAll(p.Value, i.pipThere, i.tool.identity())
		}
		p.Lines = lo.Map(p.Lines, func(l string, _ int) string { return placed(l) })
		return p
	})
}

// findVirtual finds what conda takes this host for: that is in the key of requests
// that are solved. One that names a lock does without, and is found in any case.
func (i *importer) findVirtual(ctx context.Context, say func(Progress)) {
	b, ok := i.cache.builders[i.from.Record.Manager].(*condaBuilder)
	was, named := lo.Find(i.from.Record.Parts, func(p Part) bool { return p.Name == virtualPart })
	if !ok || !named || len(was.Lines) == 0 {
		return
	}
	identity, _, _ := strings.Cut(valueOf(i.from.Record.Parts, managerPart), " and ")
	req := Request{UID: i.uid, GID: i.gid, Versions: map[string]string{ManagerConda: identity[strings.LastIndex(identity, "-")+1:]}}
	p := &condaPlan{access: newAccess(i.cache.opts.Getenv, req, nil), identity: identity}
	p.client = func(ctx context.Context, say func(Progress)) (tool, error) {
		return i.cache.tools.get(ctx, ManagerConda, req, p.access, say)
	}
	found, err := b.virtual(ctx, p, say)
	if err != nil {
		say(Progress{Time: i.cache.now(), Step: "import", Text: fmt.Sprintf("only a task with a lock of its packages will find it: %v", err)})
	}
	i.virtual = found
}

// hosted are the parts of a request that names no index, if that is what built the
// environment: where such a request looks is up to the host, so that here it has
// another key.
func (i *importer) hosted(parts []Part) []Part {
	index := valueOf(parts, indexPart)
	extra, _ := lo.Find(parts, func(p Part) bool { return p.Name == extraPart })
	was, n := lo.Map(i.from.Extra, plainIndex), len(i.from.Extra)
	if index != trimSlash(i.from.Index) || len(extra.Lines) < n || !slices.Equal(extra.Lines[:n], was) {
		return parts // the request named it
	}
	host := hostPipSettings(i.cache.opts.Getenv)
	return lo.Map(parts, func(p Part, _ int) Part {
		switch p.Name {
		case indexPart:
			p.Value = plainIndex(host.index, 0)
		case extraPart:
			p.Lines = append(lo.Map(host.extra, plainIndex), p.Lines[n:]...)
		}
		return p
	})
}

// plainIndex is an index as a key names it.
func plainIndex(raw string, _ int) string {
	plain, _ := secret.SplitURL(strings.TrimSpace(raw))
	return trimSlash(plain)
}

// freshen makes an unpinned list count as resolved now, unless what it was
// resolved to is here.
func (i *importer) freshen(ctx context.Context, a *acquisition) error {
	base := keyOf(a.parts)
	gen, err := i.cache.readGeneration(base)
	if err != nil || gen == "" || !a.plan.unpinned {
		return err
	}
	if held, err := i.cache.named(keyOf(withAge(a.parts, gen))); err == nil {
		return held.Close()
	}
	_, err = i.cache.renew(ctx, base, gen)
	return err
}

// nameAll files an environment under the keys of other parts too: that of the
// request, and those of what it was resolved to.
func (i *importer) nameAll(ctx context.Context, a *acquisition, parts []Part, l *Lease) error {
	base := keyOf(parts)
	if base == keyOf(a.parts) {
		return nil
	}
	gen, _, err := i.cache.generation(ctx, base, a.plan.unpinned, i.cache.opts.MaxAge)
	if err != nil {
		return err
	}
	rec := l.held.Entry
	to := alias{Key: l.Key, Lock: rec.Settled, Base: base}
	if err := i.cache.name(ctx, keyOf(withAge(parts, gen)), to); err != nil || rec.Settled == "" {
		return err
	}
	return i.cache.nameAll(ctx, lockNames(parts, rec.Wishes, *rec.Lock), to)
}
