package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"agentctl/spec"
)

// retryGit is how soon a repository that could not be read is tried again at first;
// then after twice that, up to its interval.
const retryGit = 5 * time.Second

// gitDir is where the copy of a repository is; each has its own.
func (m *Manager) gitDir(g *Git) string {
	sum := sha256.Sum256([]byte(g.URL))
	return filepath.Join(m.dir, "git", hex.EncodeToString(sum[:8]))
}

// readGit reads a repository, and numbers what it says: a later number is a later
// reading. The update holds the error; that of the function means nobody has read.
func (m *Manager) readGit(ctx context.Context, source Source, rewind bool) (Update, error) {
	select {
	case <-ctx.Done():
		return Update{}, context.Cause(ctx)
	case <-m.fetching:
	}
	defer func() { m.fetching <- struct{}{} }()
	u := m.numbered(source)
	base := ""
	if !rewind {
		base = m.base(source)
	}
	r := repository{dir: m.gitDir(source.Git), git: *source.Git, log: m.opts.Log}
	got := r.read(ctx, base)
	u.Text, u.Commit, u.Err = got.text, got.commit, got.err
	return u, context.Cause(ctx)
}

// base is the commit that the next must come after; "" if there is none.
func (m *Manager) base(source Source) string {
	if good, _, ok := m.LastGood(); ok && good.appliedOf(source) {
		return good.Commit.Hash
	}
	history, _ := m.History() // what can't be read was told at the start
	for _, r := range history {
		if r.appliedOf(source) {
			return r.Commit.Hash
		}
	}
	return source.Base
}

// appliedOf tells that r came from the repository, since the operator said the last
// word on what must come after what.
func (r Revision) appliedOf(source Source) bool {
	url, ref := source.Remote()
	goneBack := r.Cause == CauseRollback || r.Cause == CauseRevert // which must not open the way to older commits
	return r.Kind == KindGit && r.Commit != nil && !goneBack && r.Path == source.Path && r.URL == url && r.Ref == ref &&
		r.Time.After(source.Since) && r.Time.After(source.Based)
}

// SetGit makes a repository the followed source. commit is what the caller found
// there, or ""; the agent must find the same. Its history may be another than before
// only with takeOver. Errors are as of SetFile.
func (m *Manager) SetGit(ctx context.Context, g Git, commit string, takeOver bool) (Update, error) {
	return m.ApplyGit(ctx, g, commit, Order{TakeOver: takeOver})
}

// ApplyGit is SetGit by an order.
func (m *Manager) ApplyGit(ctx context.Context, g Git, commit string, o Order) (Update, error) {
	g, err := g.Checked()
	if err != nil {
		return Update{}, err
	}
	next, present := Source{Kind: KindGit, Path: g.Path, Git: &g}, m.Current()
	if err := m.check(next, o.TakeOver); err != nil {
		return Update{}, err
	}
	same := present.samePlace(next)
	if same {
		next.Base, next.Based, next.Since = present.Base, present.Based, present.Since
	}
	u, err := m.readGit(ctx, next, o.TakeOver || !same)
	switch {
	case err != nil:
		return Update{}, err
	case u.Err != nil:
		return Update{}, u.Err
	case commit != "" && commit != u.Commit.Hash:
		return Update{}, &ChangedError{g.String()}
	}
	next.Base, next.Based = u.Commit.Hash, time.Now()
	got, err := m.replace(next, u.Text, o)
	got.Commit = u.Commit
	return got, err
}

// UseFlagsGit names the repository that the agent's flags give, as UseFlags.
func (m *Manager) UseFlagsGit(g Git) (taken bool, err error) {
	if g, err = g.Checked(); err != nil {
		return false, err
	}
	return m.useFlags(Source{Kind: KindGit, Path: g.Path, Git: &g})
}

// FetchGit looks at a repository for the agent, without making it the source.
func (m *Manager) FetchGit(ctx context.Context, g Git) ([]byte, *Commit, error) {
	g, err := g.Checked()
	if err != nil {
		return nil, nil, err
	}
	u, err := m.readGit(ctx, Source{Kind: KindGit, Path: g.Path, Git: &g}, true)
	if err == nil {
		err = u.Err
	}
	return u.Text, u.Commit, err
}

// reloadGit reads the repository now. A rewritten history that is accepted is what
// the next commit must come after, also if it changed nothing for this node.
func (m *Manager) reloadGit(ctx context.Context, source Source, rewind bool) (Update, error) {
	u, err := m.readGit(ctx, source, rewind)
	if err != nil || u.Err != nil || !rewind {
		return u, err
	}
	if n, _ := spec.DecodeFor(source.Path, u.Text, m.opts.Host); n == nil {
		return u, nil // the caller tells; the old base stays with the old spec
	}
	return u, m.rebase(source, u.Commit.Hash)
}

func (m *Manager) rebase(source Source, commit string) error {
	m.writing.Lock()
	defer m.writing.Unlock()
	present := m.Current()
	if !present.samePlace(source) {
		return errSuperseded
	}
	present.Base, present.Based = commit, time.Now()
	return m.rewrite(present)
}

// followGit looks at the repository at its interval, and hands on each reading that
// differs from the last.
func (m *Manager) followGit(ctx context.Context, source Source, began int64) {
	var last string
	wait := retryGit
	for {
		u, err := m.readGit(ctx, m.refreshed(source), false)
		if err != nil {
			return // it is over
		}
		if now := fmt.Sprint(u.Commit, u.Err, digest(u.Text)); now != last {
			last = now
			m.offer(began, u)
		}
		pause := source.Git.Interval
		if u.Err != nil {
			pause = min(pause, wait)
			wait *= 2
		} else {
			wait = retryGit
		}
		// A fleet that was started together must not come together each time.
		pause += time.Duration((rand.Float64() - 0.5) * 0.2 * float64(pause))
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// refreshed is the source with what was recorded of it since.
func (m *Manager) refreshed(source Source) Source {
	if present := m.Current(); present.samePlace(source) {
		return present
	}
	return source
}

// sweepGit removes copies of repositories that are not followed any more.
func (m *Manager) sweepGit() {
	keep := ""
	if present := m.Current(); present.Git != nil {
		keep = m.gitDir(present.Git)
	}
	entries, _ := os.ReadDir(filepath.Join(m.dir, "git"))
	for _, e := range entries {
		if path := filepath.Join(m.dir, "git", e.Name()); path != keep {
			_ = os.RemoveAll(path) // or at the next start
		}
	}
}
