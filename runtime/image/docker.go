package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"agentctl/runtime/image/internal/stream"
)

// docker reads an image from what docker save wrote before it wrote layouts. Such an
// archive has no manifest, so one is made.
type docker struct {
	in    *archive
	raw   []byte
	tags  []string
	files map[string]string // digest → file
}

// saved is an entry of manifest.json.
type saved struct {
	Config   string
	RepoTags []string
	Layers   []string
}

func openDocker(ctx context.Context, a *archive, of string) (*docker, error) {
	raw, err := readFile(a, "manifest.json", maxManifest)
	if err != nil {
		return nil, fmt.Errorf("it holds no image: %w", err)
	}
	var all []saved
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("cannot read manifest.json: %w", err)
	}
	img, err := chooseSaved(all, of)
	if err != nil {
		return nil, err
	}
	d := &docker{in: a, tags: img.RepoTags, files: map[string]string{}}
	config, err := readFile(a, img.Config, maxConfig)
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	var cf v1.ConfigFile
	if err := json.Unmarshal(config, &cf); err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	if len(cf.RootFS.DiffIDs) != len(img.Layers) {
		return nil, fmt.Errorf("it has %d layers, and its configuration tells of %d", len(img.Layers), len(cf.RootFS.DiffIDs))
	}
	m := v1.Manifest{SchemaVersion: 2, MediaType: types.DockerManifestSchema2}
	if m.Config, err = d.describe(ctx, img.Config, types.DockerConfigJSON, nil); err != nil {
		return nil, err
	}
	for i, file := range img.Layers {
		desc, err := d.describe(ctx, file, types.DockerLayer, &cf.RootFS.DiffIDs[i])
		if err != nil {
			return nil, fmt.Errorf("cannot read a layer: %w", err)
		}
		m.Layers = append(m.Layers, desc)
	}
	d.raw, err = json.Marshal(m)
	return d, err
}

func chooseSaved(all []saved, of string) (saved, error) {
	var names []string
	for _, img := range all {
		names = append(names, img.RepoTags...)
		if of != "" && slices.ContainsFunc(img.RepoTags, func(tag string) bool { return sameName(tag, of) }) {
			return img, nil
		}
	}
	switch {
	case of != "":
		return saved{}, fmt.Errorf("no image is called %.128q there: there are %.300q", of, names)
	case len(all) == 0:
		return saved{}, errors.New("there is no image in it")
	case len(all) > 1:
		return saved{}, fmt.Errorf("there are several images; say which: %.300q", names)
	}
	return all[0], nil
}

// describe makes the descriptor of a file. A layer that is not packed has its diffID for
// a digest, which is checked when it is unpacked; others are read.
func (d *docker) describe(ctx context.Context, file string, mediaType types.MediaType, diffID *v1.Hash) (v1.Descriptor, error) {
	at, err := d.in.find(file)
	if err != nil {
		return v1.Descriptor{}, err
	}
	desc := v1.Descriptor{MediaType: mediaType, Size: at.size}
	content := func() *io.SectionReader { return io.NewSectionReader(d.in.file, at.offset, at.size) }
	packed := false
	if diffID != nil {
		if packed, err = stream.Packed(content()); err != nil {
			return desc, err
		}
	}
	if diffID != nil && !packed {
		desc.MediaType, desc.Digest = types.DockerUncompressedLayer, *diffID
	} else if desc.Digest, _, err = v1.SHA256(ended{ctx, content()}); err != nil {
		return desc, err
	}
	d.files[desc.Digest.String()] = file
	return desc, nil
}

func (d *docker) manifest(_ context.Context, digest string) ([]byte, string, error) {
	if digest != "" {
		return nil, "", errors.New("the archive holds no such manifest")
	}
	return d.raw, string(types.DockerManifestSchema2), nil
}

func (d *docker) blob(_ context.Context, desc v1.Descriptor, offset int64) (io.ReadCloser, error) {
	return d.in.open(d.files[desc.Digest.String()], offset)
}

// names are what the archive calls the image.
func (d *docker) names() []string { return d.tags }

func (d *docker) close() error { return d.in.close() }
