package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/dustin/go-humanize"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"agentctl/internal/crash"
	"agentctl/internal/fsx"
	"agentctl/internal/shelf"
)

// pull makes one image.
type pull struct {
	store  *Store
	src    source
	found  *found
	q      request
	report *reporter

	mu         sync.Mutex
	held       []*shelf.Lease[layerRecord]
	publishing *fsx.Lock
}

// release gives the layers up, once the image that names them is published or given
// up as well.
func (p *pull) release() {
	for _, l := range p.held {
		_ = l.Unlock()
	}
	if p.publishing != nil {
		_ = p.publishing.Unlock()
	}
	p.held, p.publishing = nil, nil
}

// run makes the entry of the image.
func (p *pull) run(ctx context.Context, m shelf.Making) (imageRecord, int64, error) {
	p.release() // of an image that was collected as soon as it was published
	start := p.store.opts.Now()
	raw, cf, err := readConfig(ctx, p.src, p.found, p.store.backoff)
	if err == nil {
		err = configOf(cf).fits(p.q.platform)
	}
	if err != nil {
		return imageRecord{}, 0, fmt.Errorf("its configuration: %w", err)
	}
	rec := imageRecord{Digest: p.found.digest, MediaType: string(p.found.mediaType), Config: configOf(cf), Created: cf.Created.Time}
	for _, d := range p.found.layers {
		rec.Packed += d.Size
	}
	p.report.expect(rec.Packed)
	p.report.text("", "pulling %s, %d layers, %s", p.q.ref.pinned(p.found.digest), len(p.found.layers), humanize.IBytes(uint64(rec.Packed)))
	if rec.Layers, err = p.layers(ctx, cf.RootFS.DiffIDs); err != nil {
		return rec, 0, err
	}
	crash.Point("image.layers")
	bytes, counted := int64(0), map[string]bool{}
	for _, l := range rec.Layers {
		if !counted[l.Key] {
			counted[l.Key] = true
			bytes += l.Bytes
		}
	}
	if err := writeEntry(m.Path, p.found.raw, raw); err != nil {
		return rec, 0, err
	}
	crash.Point("image.written")
	// From here until this pull gives its layers up, nobody looks for layers that no
	// image names.
	p.publishing, err = fsx.WaitLockShared(ctx, filepath.Join(p.store.dir, layersLock))
	rec.Took = p.store.opts.Now().Sub(start)
	return rec, bytes, err
}

// writeEntry writes the files of an image. They are on the disk with its layers.
func writeEntry(path string, manifest, config []byte) error {
	if err := os.Mkdir(path, 0o700); err != nil {
		return err
	}
	for name, data := range map[string][]byte{"manifest": manifest, "config": config} {
		f, err := os.OpenFile(filepath.Join(path, name), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err == nil {
			_, err = f.Write(data)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			return fmt.Errorf("cannot write the %s: %w", name, err)
		}
	}
	return nil
}

// layers gets all layers, several at once.
func (p *pull) layers(ctx context.Context, diffIDs []v1.Hash) ([]imageLayer, error) {
	layers := make([]imageLayer, len(diffIDs))
	order := make([]int, len(diffIDs))
	for i := range order {
		order[i] = i
	}
	// The largest takes longest, whatever is done beside it.
	descs := p.found.layers
	slices.SortStableFunc(order, func(a, b int) int { return int(min(1, max(-1, descs[b].Size-descs[a].Size))) })
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(p.store.opts.Parallel)
	if p.q.gently {
		g.SetLimit(1)
	}
	for _, i := range order {
		g.Go(func() (err error) {
			layers[i], err = p.layer(ctx, p.found.manifest.Layers[i].Digest, descs[i], diffIDs[i])
			if err != nil {
				err = fmt.Errorf("layer %d, %s: %w", i+1, short(descs[i].Digest.String()), err)
			}
			return err
		})
	}
	return layers, g.Wait()
}
