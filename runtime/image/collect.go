package image

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"agentctl/internal/crash"
	"agentctl/internal/fsx"
	"agentctl/internal/shelf"
)

// Keep limits what is kept; zero values don't.
type Keep struct {
	Images      int
	Bytes, Free int64 // of the layers; on the disk
	Age         time.Duration
}

// Collected tells what a collection did.
type Collected struct {
	Removed []string // digests
	Layers  int
	Freed   int64
	Kept    int
}

// Collect finishes what dead processes left and removes images beyond the limits, the
// least recently used first, never one that is leased, and then the layers that no
// image names. For room the last used one stays: it would only be pulled again.
func (s *Store) Collect(ctx context.Context, keep Keep) (Collected, error) {
	if s.delegates() {
		a, err := s.delegate(ctx, order{Collect: &keep}, nil, nil, nil)
		if err != nil {
			return Collected{}, err
		}
		return *a.Collected, nil
	}
	if err := errors.Join(s.images.Sweep(), s.layers.Sweep(), s.added.Sweep()); err != nil {
		return Collected{}, err
	}
	c, err := s.collection(keep)
	if err != nil {
		return Collected{}, err
	}
	c.remove, c.free = s.images.Remove, func() int64 {
		cleared, err := s.clearLayers(ctx)
		c.failed = errors.Join(c.failed, err)
		c.result.Layers += cleared
		return shelf.Free(s.dir)
	}
	c.run(ctx)
	cleared, err := s.clearLayers(ctx)
	c.result.Layers += cleared
	return c.result, errors.Join(c.failed, err, s.collectAdded(keep), s.forget(s.gone))
}

// stale tells that an image was unpacked for another range of ids, or by an older
// program: nobody gets it any more.
func (s *Store) stale(e shelf.Entry[imageRecord]) bool { return e.Key != s.imageKey(e.Entry.Digest) }

// gone tells that the image of a reference is not kept any more.
func (s *Store) gone(rec refRecord) bool { return !s.images.Stands(rec.Key) }

// Preview tells what Collect would remove, and removes nothing.
func (s *Store) Preview(ctx context.Context, keep Keep) (Collected, error) {
	c, err := s.collection(keep)
	if err != nil {
		return Collected{}, err
	}
	c.remove, c.free = func(string) error { return nil }, func() int64 { return shelf.Free(s.dir) + c.result.Freed }
	c.run(ctx)
	return c.result, c.failed
}

// collection is one pass over all images.
type collection struct {
	keep   Keep
	stale  func(shelf.Entry[imageRecord]) bool
	now    time.Time
	images []shelf.Entry[imageRecord] // the last used first
	names  map[string]int             // images that name a layer
	bytes  int64                      // of all layers that are named
	remove func(key string) error
	free   func() int64
	result Collected
	failed error
}

func (s *Store) collection(keep Keep) (*collection, error) {
	all, err := s.images.Entries()
	if err != nil {
		return nil, err
	}
	c := &collection{keep: keep, stale: s.stale, now: s.opts.Now(), images: all, names: map[string]int{}}
	for _, e := range all {
		for key, size := range layersOf(e.Entry) {
			if c.names[key]++; c.names[key] == 1 {
				c.bytes += size
			}
		}
	}
	c.result.Kept = len(all)
	return c, nil
}

// layersOf gives the sizes of an image's layers, by key.
func layersOf(rec imageRecord) map[string]int64 {
	sizes := map[string]int64{}
	for _, l := range rec.Layers {
		sizes[l.Key] = l.Bytes
	}
	return sizes
}

func (c *collection) run(ctx context.Context) {
	for i, e := range slices.Backward(c.images) {
		if err := context.Cause(ctx); err != nil {
			c.failed = errors.Join(c.failed, err)
			return
		}
		if e.InUse || !c.over(e, i == 0) {
			continue
		}
		switch err := c.remove(e.Key); {
		case errors.Is(err, fsx.ErrLocked): // leased in between
		case err != nil:
			c.failed = errors.Join(c.failed, err)
		default:
			crash.Point("collect.image")
			c.drop(e)
		}
	}
}

func (c *collection) drop(e shelf.Entry[imageRecord]) {
	c.result.Kept--
	c.result.Removed = append(c.result.Removed, e.Entry.Digest)
	for key, size := range layersOf(e.Entry) {
		if c.names[key]--; c.names[key] == 0 {
			c.bytes -= size
			c.result.Freed += size
		}
	}
}

// over tells whether e, the oldest that is left, has to go.
func (c *collection) over(e shelf.Entry[imageRecord], newest bool) bool {
	k := c.keep
	if c.stale(e) {
		return true
	}
	if k.Images > 0 && c.result.Kept > k.Images || k.Age > 0 && c.now.Sub(e.Used) > k.Age {
		return true
	}
	return !newest && (k.Bytes > 0 && c.bytes > k.Bytes || k.Free > 0 && c.free() < k.Free)
}

// clearLayers removes the layers that no image names and no pull holds.
func (s *Store) clearLayers(ctx context.Context) (int, error) {
	l, err := fsx.WaitLock(ctx, filepath.Join(s.dir, layersLock))
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Unlock() }()
	images, err := s.images.Entries()
	if err != nil {
		return 0, err
	}
	named := map[string]bool{}
	for _, e := range images {
		for _, l := range e.Entry.Layers {
			named[l.Key] = true
		}
	}
	layers, err := s.layers.Entries()
	if err != nil {
		return 0, err
	}
	n := 0
	var failed error
	for _, e := range layers {
		if named[e.Key] {
			continue
		}
		switch err := s.layers.Remove(e.Key); {
		case errors.Is(err, fsx.ErrLocked): // a pull holds it
		case err != nil:
			failed = errors.Join(failed, fmt.Errorf("cannot remove a layer: %w", err))
		default:
			crash.Point("collect.layers")
			n++
		}
	}
	return n, failed
}
