package image

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"

	"agentctl/internal/shelf"
	"agentctl/runtime/image/internal/unpack"
)

// Export writes an image as the archive of an OCI layout, which other tools read too.
// Layers are not packed in it, so its manifest is another one; the original is beside it,
// and an import by us checks the layers and gives the image its digest back.
func (s *Store) Export(ctx context.Context, e Entry, w io.Writer) error {
	if s.delegates() {
		_, err := s.delegate(ctx, order{Export: e.Digest}, nil, nil, w)
		return err
	}
	held, err := s.images.Peek(e.key)
	if err != nil {
		return fmt.Errorf("cannot export %s: %w", short(e.Digest), err)
	}
	err = s.export(ctx, e, held, w)
	if err = errors.Join(err, held.Unlock()); err != nil {
		return fmt.Errorf("cannot export %s: %w", short(e.Digest), err)
	}
	return nil
}

func (s *Store) export(ctx context.Context, e Entry, held *shelf.Lease[imageRecord], w io.Writer) error {
	raw, err := s.Manifest(e)
	if err != nil {
		return err
	}
	config, err := s.RawConfig(e)
	if err != nil {
		return err
	}
	var m v1.Manifest
	if err := json.Unmarshal(raw, &m); err != nil {
		return err
	}
	out := v1.Manifest{SchemaVersion: 2, MediaType: types.OCIManifestSchema1, Config: m.Config, Annotations: m.Annotations}
	out.Config.MediaType = types.OCIConfigJSON
	var layers []v1.Descriptor // each once
	keys := map[v1.Hash]string{}
	for _, l := range held.Entry.Layers {
		d, err := s.unpacked(l)
		if err != nil {
			return err
		}
		if keys[d.Digest] == "" {
			layers = append(layers, d)
		}
		keys[d.Digest] = l.Key
		out.Layers = append(out.Layers, d)
	}
	t := &exporting{tar.NewWriter(w)}
	if err := t.documents(e, out, raw, config); err != nil {
		return err
	}
	for _, d := range layers {
		if err := t.layer(ctx, d, s.layers.Path(keys[d.Digest])); err != nil {
			return fmt.Errorf("layer %s: %w", short(d.Digest.String()), err)
		}
	}
	return t.w.Close()
}

// unpacked describes a layer as it is exported.
func (s *Store) unpacked(l imageLayer) (v1.Descriptor, error) {
	held, err := s.layers.Peek(l.Key)
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("layer %s: %w", short(l.Digest), err)
	}
	defer func() { _ = held.Unlock() }() // the image holds it
	if held.Entry.Lost {
		return v1.Descriptor{}, fmt.Errorf("layer %s: it can't be written as it was, since it held a file twice", short(l.Digest))
	}
	diffID, err := v1.NewHash(l.DiffID)
	return v1.Descriptor{MediaType: types.OCIUncompressedLayer, Size: held.Entry.Size, Digest: diffID}, err
}

// exporting is an archive that is being written.
type exporting struct{ w *tar.Writer }

func (t *exporting) file(name string, data []byte) error {
	if err := t.w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err := t.w.Write(data)
	return err
}

func blobName(digest v1.Hash) string { return "blobs/" + digest.Algorithm + "/" + digest.Hex }

// documents writes all but the layers.
func (t *exporting) documents(e Entry, m v1.Manifest, original, config []byte) error {
	made, err := json.Marshal(m)
	if err != nil {
		return err
	}
	digest, size, err := v1.SHA256(bytes.NewReader(made))
	if err != nil {
		return err
	}
	d := v1.Descriptor{MediaType: types.OCIManifestSchema1, Size: size, Digest: digest}
	d.Platform = &v1.Platform{OS: e.Config.OS, Architecture: e.Config.Architecture, Variant: e.Config.Variant}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for _, name := range append(tagsOf(e), "") {
		if name == "" && len(index.Manifests) > 0 {
			break
		}
		d.Annotations = map[string]string{originalAnnotation: e.Digest}
		if name != "" {
			d.Annotations[containerdAnnotation], d.Annotations[nameAnnotation] = name, name
		}
		index.Manifests = append(index.Manifests, d)
	}
	list, err := json.Marshal(index)
	if err != nil {
		return err
	}
	was, err := v1.NewHash(e.Digest)
	if err != nil {
		return err
	}
	err = errors.Join(
		t.file("oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)), t.file("index.json", list),
		t.file(blobName(digest), made), t.file(blobName(m.Config.Digest), config),
	)
	if was != digest {
		err = errors.Join(err, t.file(blobName(was), original))
	}
	return err
}

// tagsOf are the references of an image that say something where the image goes.
func tagsOf(e Entry) (tags []string) {
	for _, r := range e.Refs {
		if ref, err := ParseReference(r); err == nil && ref.where == inRegistry && ref.digest() == "" {
			tags = append(tags, r)
		}
	}
	return tags
}

// layer puts the archive of a layer together again.
func (t *exporting) layer(ctx context.Context, d v1.Descriptor, path string) error {
	f, err := os.Open(filepath.Join(path, "recipe"))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	recipe, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		return err
	}
	defer recipe.Close()
	if err := t.w.WriteHeader(&tar.Header{Name: blobName(d.Digest), Mode: 0o644, Size: d.Size}); err != nil {
		return err
	}
	sum, err := v1.Hasher(d.Digest.Algorithm)
	if err != nil {
		return err
	}
	if err := unpack.Pack(ctx, io.MultiWriter(t.w, sum), filepath.Join(path, "fs"), recipe); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != d.Digest.Hex {
		return fmt.Errorf("%w: its files were changed here", ErrDigest)
	}
	return t.w.Flush()
}
