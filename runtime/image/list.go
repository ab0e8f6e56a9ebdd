package image

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/samber/lo"

	"agentctl/internal/fsx"
	"agentctl/internal/shelf"
)

var (
	// ErrInUse means that an image is leased.
	ErrInUse = errors.New("the image is in use")
	// ErrNotFound means that no image has a name or digest.
	ErrNotFound = errors.New("no such image")
)

// Entry describes an image that is here.
type Entry struct {
	Digest   string    `json:"digest"`
	Refs     []string  `json:"refs"`
	Platform string    `json:"platform"`
	Layers   []Layer   `json:"layers"` // the lowest first
	Bytes    int64     `json:"bytes"`  // of its files
	Packed   int64     `json:"packed"` // as it was fetched
	Created  time.Time `json:"created,omitzero"`
	Pulled   time.Time `json:"pulled"`
	Used     time.Time `json:"used"`
	InUse    bool      `json:"inUse"`
	Config   Config    `json:"config"`

	key string
}

// Layer is one layer of an image.
type Layer struct {
	Digest string `json:"digest"`
	DiffID string `json:"diffID"`
	Packed int64  `json:"packed"`
	Bytes  int64  `json:"bytes"`
	Path   string `json:"path"`
}

// Entries lists all images, the last used first.
func (s *Store) Entries() ([]Entry, error) {
	images, err := s.images.Entries()
	if err != nil {
		return nil, err
	}
	images = slices.DeleteFunc(images, s.stale)
	refs, err := s.refs()
	if err != nil {
		return nil, err
	}
	names := map[string][]string{}
	for _, r := range refs {
		names[r.Key] = append(names[r.Key], r.Ref)
	}
	return lo.Map(images, func(e shelf.Entry[imageRecord], _ int) Entry {
		rec := e.Entry
		slices.Sort(names[e.Key])
		return Entry{
			Digest: rec.Digest, Refs: lo.Uniq(names[e.Key]), Platform: strings.TrimSuffix(rec.Config.OS+"/"+rec.Config.Architecture+"/"+rec.Config.Variant, "/"),
			Bytes: e.Bytes, Packed: rec.Packed, Created: rec.Created, Pulled: e.Created, Used: e.Used, InUse: e.InUse, Config: rec.Config, key: e.Key,
			Layers: lo.Map(rec.Layers, func(l imageLayer, _ int) Layer {
				return Layer{l.Digest, l.DiffID, l.Packed, l.Bytes, s.layerFolder(l.Key)}
			}),
		}
	}), nil
}

// shortest is how much of a digest is enough to name an image.
const shortest = 6

// Find finds an image by a reference, a digest, or the beginning of one. An image for
// another platform of the same name is found by its digest.
func (s *Store) Find(text string) (Entry, error) {
	all, err := s.Entries()
	if err != nil {
		return Entry{}, err
	}
	hex := strings.TrimPrefix(text, "sha256:")
	found := lo.Filter(all, func(e Entry, _ int) bool {
		return e.Digest == text || len(hex) >= shortest && strings.HasPrefix(e.Digest, "sha256:"+hex)
	})
	if ref, err := ParseReference(text); len(found) == 0 && err == nil {
		found = lo.Filter(all, func(e Entry, _ int) bool {
			return slices.Contains(e.Refs, ref.String()) || ref.digest() != "" && e.Digest == ref.digest()
		})
	}
	switch len(found) {
	case 0:
		return Entry{}, fmt.Errorf("%w: %.128q", ErrNotFound, text)
	case 1:
		return found[0], nil
	}
	digests := lo.Map(found, func(e Entry, _ int) string { return short(e.Digest) + " for " + e.Platform })
	return Entry{}, fmt.Errorf("%.128q may be %s; write more of the digest", text, strings.Join(digests, " or "))
}

// Remove takes a reference away, and with the last one the image; by a digest the
// image with all its references. One that is leased stays, with ErrInUse.
func (s *Store) Remove(ctx context.Context, text string) (Entry, error) {
	e, err := s.Find(text)
	if err != nil {
		return e, err
	}
	if s.delegates() {
		_, err := s.delegate(ctx, order{Remove: text}, nil, nil, nil)
		return e, err
	}
	ref, perr := ParseReference(text)
	mine := func(r refRecord) bool { return r.Key == e.key }
	if perr == nil && len(e.Refs) > 1 && slices.Contains(e.Refs, ref.String()) {
		return e, s.forget(func(r refRecord) bool { return mine(r) && r.Ref == ref.String() })
	}
	err = s.images.Remove(e.key)
	if errors.Is(err, fsx.ErrLocked) {
		return e, fmt.Errorf("cannot remove %s: %w", cmp.Or(lo.FirstOrEmpty(e.Refs), e.Digest), ErrInUse)
	}
	if err != nil {
		return e, err
	}
	_, err = s.clearLayers(ctx)
	return e, errors.Join(err, s.forget(mine))
}

// Manifest and RawConfig give the very bytes of an image's documents.
func (s *Store) Manifest(e Entry) ([]byte, error) { return s.document(e, "manifest") }

// RawConfig is the configuration as it was pulled.
func (s *Store) RawConfig(e Entry) ([]byte, error) { return s.document(e, "config") }

func (s *Store) document(e Entry, name string) ([]byte, error) {
	data, err := os.ReadFile(s.images.Path(e.key) + "/" + name)
	if err != nil {
		return nil, fmt.Errorf("cannot read the %s of %s: %w", name, e.Digest, err)
	}
	return data, nil
}
