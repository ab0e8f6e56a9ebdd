package image

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"github.com/dustin/go-humanize"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"agentctl/internal/crash"
	"agentctl/internal/shelf"
	"agentctl/runtime/image/internal/stream"
	"agentctl/runtime/image/internal/unpack"
)

// ahead is how many buffers a step of the way of a layer may be ahead of the next.
const ahead = 6

// layer leases one layer, fetched if it is not here.
// of is the digest by which the image's manifest knows it.
func (p *pull) layer(ctx context.Context, of v1.Hash, d v1.Descriptor, diffID v1.Hash) (imageLayer, error) {
	s := p.store
	key, digest := s.layerKey(diffID.String()), d.Digest.String()
	waiting := func() { p.report.text(digest, "layer %s: waiting for another one that fetches it", short(digest)) }
	l, err := s.layers.Get(ctx, key, waiting, func(ctx context.Context, m shelf.Making) (layerRecord, int64, error) {
		return p.fetchLayer(ctx, m.Path, d, diffID)
	})
	if err != nil {
		return imageLayer{}, err
	}
	p.mu.Lock()
	p.held = append(p.held, l)
	p.mu.Unlock()
	if l.Hit {
		p.report.text(digest, "layer %s: here already", short(digest))
		p.report.add(d.Size)
	}
	return imageLayer{Key: key, Digest: of.String(), DiffID: diffID.String(), Packed: d.Size, Bytes: l.Bytes, Opaque: l.Entry.Opaque}, nil
}

// fetchLayer unpacks a layer while it is fetched. What it leaves is as its digests
// say, or it fails.
func (p *pull) fetchLayer(ctx context.Context, path string, d v1.Descriptor, diffID v1.Hash) (layerRecord, int64, error) {
	start := p.store.opts.Now()
	crash.Point("layer.begun")
	if err := os.MkdirAll(filepath.Join(path, "fs"), 0o700); err != nil {
		return layerRecord{}, 0, err
	}
	recipe, err := os.OpenFile(filepath.Join(path, "recipe"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return layerRecord{}, 0, err
	}
	defer func() { _ = recipe.Close() }()
	packed, err := zstd.NewWriter(recipe, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	if err != nil {
		return layerRecord{}, 0, err
	}
	o := p.store.opts.unpack()
	o.Recipe = packed
	res, err := p.stream(ctx, filepath.Join(path, "fs"), d, diffID, o)
	if cerr := packed.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return layerRecord{}, 0, err
	}
	crash.Point("layer.unpacked")
	digest := d.Digest.String()
	p.report.text(digest, "layer %s: %s, %d entries, %s", short(digest), humanize.IBytes(uint64(res.Bytes)), res.Entries, since(start, p.store.opts.Now()))
	if res.Dropped > 0 {
		p.report.text(digest, "layer %s: %d device nodes are left out", short(digest), res.Dropped)
	}
	return layerRecord{diffID.String(), res.Stream, res.Entries, res.Opaque, res.Dropped, res.Lost}, res.Bytes, nil
}

// stream is the way of a layer from its source to its folder.
func (p *pull) stream(ctx context.Context, path string, d v1.Descriptor, diffID v1.Hash, o unpack.Options) (unpack.Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	body := newResumed(ctx, p.src, d, p.store.backoff)
	packedSum, err := v1.Hasher(d.Digest.Algorithm)
	if err != nil {
		cancel()
		return unpack.Result{}, err
	}
	plainSum, err := v1.Hasher(diffID.Algorithm)
	if err != nil {
		cancel()
		return unpack.Result{}, err
	}
	packed := stream.NewAhead(&told{body, p.report}, packedSum, ahead)
	defer func() { // the network first: what waits for it ends then
		cancel()
		_ = packed.Close()
		_ = body.Close()
	}()
	res, err := p.unpack(ctx, cancel, path, packed, plainSum, o)
	return res, p.verify(err, packed, d, packedSum, diffID, plainSum)
}

func (p *pull) unpack(ctx context.Context, giveUp func(), path string, packed io.Reader, sum hash.Hash, o unpack.Options) (unpack.Result, error) {
	lim := stream.Limits{Ratio: p.store.opts.Limits.Ratio, From: p.store.opts.Limits.From}
	plain, err := stream.Unpack(packed, lim)
	if err != nil {
		return unpack.Result{}, err
	}
	defer func() { _ = plain.Close() }()
	in := stream.NewAhead(p.pace(ctx, plain), sum, ahead)
	res, err := unpack.Unpack(ctx, path, in, o)
	if err != nil && !byContent(err) {
		giveUp() // else the reader ahead would wait for what the source still sends
	}
	return res, errors.Join(err, in.Close())
}

// byContent tells that a layer failed by what is in it, as one does that is not what
// was asked for.
func byContent(err error) bool {
	for _, other := range []error{unpack.ErrLimit, stream.ErrRatio, context.Canceled, context.DeadlineExceeded, unix.ENOSPC, unix.EDQUOT, unix.EIO} {
		if errors.Is(err, other) {
			return false
		}
	}
	return true
}

// verify compares what came with its digests. A layer that could not be unpacked
// because it is not what was asked for fails for that reason.
func (p *pull) verify(failed error, packed io.Reader, d v1.Descriptor, packedSum hash.Hash, diffID v1.Hash, plainSum hash.Hash) error {
	if failed != nil && !byContent(failed) {
		return failed
	}
	rest, err := io.Copy(io.Discard, packed)
	switch got := hex.EncodeToString(packedSum.Sum(nil)); {
	case failed != nil && err != nil: // one follows from the other
		return failed
	case err != nil:
		return err
	case got != d.Digest.Hex:
		return fmt.Errorf("%w: it has the digest %s:%s", ErrDigest, d.Digest.Algorithm, got)
	case failed != nil:
		return failed
	case rest > 0:
		return fmt.Errorf("%w: there are %d bytes behind its end", ErrDigest, rest)
	}
	if got := hex.EncodeToString(plainSum.Sum(nil)); got != diffID.Hex {
		return fmt.Errorf("%w: unpacked it has the digest %s:%s in place of %s", ErrDigest, diffID.Algorithm, got, diffID)
	}
	return nil
}

// told tells how many bytes came.
type told struct {
	r      io.Reader
	report *reporter
}

func (t *told) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.report.add(int64(n))
	return n, err
}
