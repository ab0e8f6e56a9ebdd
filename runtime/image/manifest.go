package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/samber/lo"
)

// ErrDigest means that content is not what its digest says.
var ErrDigest = errors.New("the content is not what was asked for")

// nested bounds indexes within indexes.
const nested = 4

// found is an image that was looked up: its manifest, and by what digest it goes.
type found struct {
	raw       []byte
	digest    string
	mediaType types.MediaType
	manifest  v1.Manifest
	layers    []v1.Descriptor // as the source has them
}

// portable is a source whose image was exported: its layers are not packed any more as
// its own manifest tells.
type portable interface {
	// original is the digest of that manifest, or empty.
	original() string
}

// document is what may stand in a manifest or an index, as far as the two are told apart.
type document struct {
	SchemaVersion int             `json:"schemaVersion"`
	MediaType     types.MediaType `json:"mediaType"`
	Manifests     json.RawMessage `json:"manifests"`
	Layers        json.RawMessage `json:"layers"`
	FSLayers      json.RawMessage `json:"fsLayers"`
}

// resolve reads the manifest that digest, or else the source's reference, leads to, by
// way of indexes.
func resolve(ctx context.Context, src source, digest string, want v1.Platform, lim Limits) (*found, error) {
	for range nested {
		raw, said, err := src.manifest(ctx, digest)
		if err != nil {
			return nil, err
		}
		if digest == "" {
			sum, _, _ := v1.SHA256(strings.NewReader(string(raw)))
			digest = sum.String()
		}
		index, mediaType, err := kindOf(raw, said)
		if err != nil {
			return nil, fmt.Errorf("its manifest: %w", err)
		}
		if !index {
			f := &found{raw: raw, digest: digest, mediaType: mediaType}
			if err := f.read(lim); err != nil {
				return nil, fmt.Errorf("its manifest: %w", err)
			}
			return f.original(ctx, src, lim)
		}
		next, err := choose(raw, want)
		if err != nil {
			return nil, err
		}
		digest = next.Digest.String()
	}
	return nil, errors.New("its index leads to an index, and so on")
}

// original gives an exported image the manifest that it was pulled by. The configuration
// vouches for the layers, and both manifests for the configuration.
func (f *found) original(ctx context.Context, src source, lim Limits) (*found, error) {
	p, ok := src.(portable)
	if !ok || p.original() == "" || p.original() == f.digest {
		return f, nil
	}
	raw, _, err := src.manifest(ctx, p.original())
	if err != nil {
		return nil, fmt.Errorf("the manifest that it was exported from: %w", err)
	}
	o := &found{raw: raw, digest: p.original()}
	index, mediaType, err := kindOf(raw, "")
	if err == nil && index {
		err = errors.New("it is an index")
	}
	if err == nil {
		o.mediaType = mediaType
		err = o.read(lim)
	}
	if err == nil && (o.manifest.Config.Digest != f.manifest.Config.Digest || len(o.manifest.Layers) != len(f.layers)) {
		err = errors.New("it is of another image")
	}
	if err != nil {
		return nil, fmt.Errorf("the manifest that it was exported from: %w", err)
	}
	o.layers = f.layers
	return o, nil
}

// kindOf tells an index from a manifest. What could be read as both is refused: one
// digest would stand for two things.
func kindOf(raw []byte, said string) (index bool, mediaType types.MediaType, err error) {
	var d document
	if err := json.Unmarshal(raw, &d); err != nil {
		return false, "", fmt.Errorf("cannot read it: %w", err)
	}
	mediaType = d.MediaType
	said, _, _ = strings.Cut(said, ";")
	switch t := types.MediaType(strings.TrimSpace(said)); {
	case mediaType != "" && (t.IsImage() || t.IsIndex()) && t != mediaType:
		return false, "", fmt.Errorf("it was sent as %s and says that it is %s", t, mediaType)
	case mediaType == "" && t != "":
		mediaType = t
	}
	switch {
	case d.FSLayers != nil || d.SchemaVersion == 1:
		return false, "", errors.New("it has the form of 2014 (schema 1), which is not supported")
	case d.Manifests != nil && d.Layers != nil:
		return false, "", errors.New("it is an index and an image at once")
	case d.Manifests != nil && !mediaType.IsImage():
		return true, mediaType, nil
	case d.Layers != nil && !mediaType.IsIndex():
		return false, mediaType, nil
	}
	return false, "", fmt.Errorf("it is neither an image nor an index, but %.100q", mediaType)
}

// choose finds the image for a platform in an index.
func choose(raw []byte, want v1.Platform) (v1.Descriptor, error) {
	var index v1.IndexManifest
	if err := json.Unmarshal(raw, &index); err != nil {
		return v1.Descriptor{}, fmt.Errorf("its index: cannot read it: %w", err)
	}
	fits := lo.Filter(index.Manifests, func(d v1.Descriptor, _ int) bool {
		return d.Platform == nil && len(index.Manifests) == 1 ||
			d.Platform != nil && d.Platform.OS == want.OS && d.Platform.Architecture == want.Architecture && (want.Variant == "" || d.Platform.Variant == want.Variant)
	})
	if len(fits) == 0 {
		have := lo.FilterMap(index.Manifests, func(d v1.Descriptor, _ int) (string, bool) {
			return fmt.Sprint(d.Platform), d.Platform != nil && d.Platform.OS != "unknown"
		})
		return v1.Descriptor{}, fmt.Errorf("there is no image for %s, only for %.300s", want, strings.Join(lo.Uniq(have), ", "))
	}
	// Without a variant, or with the usual one of the architecture, it runs everywhere.
	for _, variant := range []string{"", "v1", "v8", "v7"} {
		if d, ok := lo.Find(fits, func(d v1.Descriptor) bool { return d.Platform == nil || d.Platform.Variant == variant }); ok {
			return d, nil
		}
	}
	return fits[0], nil
}

var layerTypes = []types.MediaType{
	types.OCILayer, types.OCILayerZStd, types.OCIUncompressedLayer, types.OCIRestrictedLayer, types.OCIUncompressedRestrictedLayer,
	types.DockerLayer, types.DockerUncompressedLayer, types.DockerForeignLayer,
	"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", "application/vnd.docker.image.rootfs.diff.tar.zstd",
}

// read reads and checks the manifest of an image.
func (f *found) read(lim Limits) error {
	if err := json.Unmarshal(f.raw, &f.manifest); err != nil {
		return fmt.Errorf("cannot read it: %w", err)
	}
	m := f.manifest
	if t := m.Config.MediaType; t != types.OCIConfigJSON && t != types.DockerConfigJSON {
		return fmt.Errorf("it is of no container image: its configuration is of the type %.100q", t)
	}
	if m.Config.Size < 0 || m.Config.Size > maxConfig {
		return fmt.Errorf("its configuration has %d bytes", m.Config.Size)
	}
	if len(m.Layers) > lim.Layers {
		return fmt.Errorf("it has %d layers, %d are supported", len(m.Layers), lim.Layers)
	}
	total := int64(0)
	for i, l := range m.Layers {
		if !lo.Contains(layerTypes, l.MediaType) {
			return fmt.Errorf("layer %d is of the type %.100q, which is no layer", i+1, l.MediaType)
		}
		if l.Size < 0 || l.Size > lim.Bytes-total {
			return fmt.Errorf("layer %d has %d bytes, which is too much", i+1, l.Size)
		}
		total += l.Size
	}
	for _, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		if _, err := v1.NewHash(d.Digest.String()); err != nil {
			return fmt.Errorf("%.100q is no digest", d.Digest)
		}
	}
	f.layers = m.Layers
	return nil
}
