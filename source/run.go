package source

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// ErrNotFollowed means that there is no file to read.
var ErrNotFollowed = errors.New("the spec does not come from a file")

// Reload reads a followed file now, without waiting for an event, and returns what
// it holds or why it can't be read. The caller hands that on.
func (m *Manager) Reload() (Update, error) {
	m.mu.Lock()
	m.seq++ // before the reading, so that what the follower reads later counts as newer
	u := Update{Source: m.source, Seq: m.seq}
	m.mu.Unlock()
	if u.Source.Kind != KindFile {
		return Update{}, fmt.Errorf("%w but from %s", ErrNotFollowed, u.Source)
	}
	u.Text, u.Err = ReadFile(u.Source.Path)
	return u, nil
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
	case source.Kind == KindFile:
		f := follower{path: source.Path, log: m.opts.Log, poll: m.poll, emit: offer}
		following.Go(func() { f.run(ctx) })
	case source.Kind == KindPinned:
		offer(text, nil)
	case good != nil:
		offer(nil, &ReadError{"NoSource", errors.New("no source of the spec is recorded; name one with agentctl apply FILE")})
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
	m.seq++
	u.Seq = m.seq
	select {
	case <-m.updates:
	default:
	}
	m.updates <- u
}
