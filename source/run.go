package source

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// ErrNotFollowed means that there is nothing to read again.
var ErrNotFollowed = errors.New("the spec does not come from a file, a folder or a repository")

// Reload reads a followed source now, without waiting for an event or a time, and
// returns what it holds or why it can't be read. The caller hands that on. With
// rewind the newest commit is taken though it does not come after the last one.
func (m *Manager) Reload(ctx context.Context, rewind bool) (Update, error) {
	source := m.Current()
	switch source.Kind {
	case KindFile, KindFolder:
		u := m.numbered(source) // before the reading, so that what the follower reads later counts as newer
		r, ok := calm(ctx, source)
		if !ok {
			return Update{}, context.Cause(ctx)
		}
		u.Text, u.Err = r.text, r.err
		return u, nil
	case KindGit:
		return m.reloadGit(ctx, source, rewind)
	}
	return Update{}, fmt.Errorf("%w but from %s", ErrNotFollowed, source)
}

// calm reads a file or a folder, again while it is being written to: half of it may be a
// valid spec, with half of the workers. false if ctx ended.
func calm(ctx context.Context, s Source) (reading, bool) {
	return (&follower{path: s.Path, read: reader(s.Kind)}).settled(ctx)
}

func reader(kind string) func(string) reading {
	if kind == KindFolder {
		return readFolder
	}
	return readFile
}

func (m *Manager) numbered(source Source) Update {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seq++
	return Update{Source: source, Seq: m.seq}
}

func hint(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Updates gives what the source says whenever that has changed: the newest, not
// each. After the start and after each change of source there is one at least,
// unless there is no source and never was a spec.
func (m *Manager) Updates() <-chan Update { return m.updates }

// Run follows the source, whichever it is, until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		m.one(ctx)
	}
	return nil
}

// one follows the present source until there is another one.
func (m *Manager) one(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	var following sync.WaitGroup
	defer following.Wait()
	defer stop()
	m.mu.Lock()
	source, text, began, good := m.source, m.text, m.began, m.good
	m.mu.Unlock()
	offer := func(text []byte, err error) { m.offer(began, Update{Source: source, Text: text, Err: err}) }
	following.Go(func() { m.watchTrial(ctx, source.Suspended) })
	switch {
	case source.Kind == KindFile || source.Kind == KindFolder:
		f := follower{path: source.Path, read: reader(source.Kind), dirs: folders, log: m.opts.Log, poll: m.poll, emit: offer}
		if source.Kind == KindFolder {
			f.dirs = foldersOf
		}
		following.Go(func() { f.run(ctx) })
	case source.Kind == KindGit:
		following.Go(func() { m.followGit(ctx, source, began) })
	case source.Kind == KindPinned:
		offer(text, nil)
	case good != nil:
		offer(nil, &ReadError{reason: "NoSource", err: errors.New("no source of the spec is recorded; name one with agentctl apply FILE")})
	}
	select {
	case <-ctx.Done():
	case <-m.switched:
	}
}

// offer replaces the update that waits to be taken, unless its source was replaced.
func (m *Manager) offer(began int64, u Update) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if began != m.began {
		return
	}
	if u.Seq == 0 {
		m.seq++
		u.Seq = m.seq
	}
	select {
	case <-m.updates:
	default:
	}
	m.updates <- u
}
