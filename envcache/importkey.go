package envcache

import (
	"context"
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
	if req.Manager == ManagerPip && i.tool.dir != "" {
		here["manager"] = Part{Name: "manager", Value: i.tool.identity()}
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
		p.Value = placed(p.Value)
		p.Lines = lo.Map(p.Lines, func(l string, _ int) string { return placed(l) })
		return p
	})
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
	return i.cache.nameLock(ctx, parts, rec.Wishes, *rec.Lock, to)
}
