package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/samber/lo"

	"agentctl/internal/tree"
)

// The annotations by which tools name images in a layout.
const (
	nameAnnotation       = "org.opencontainers.image.ref.name"
	containerdAnnotation = "io.containerd.image.name"
	// originalAnnotation names the manifest that an exported image was pulled by.
	originalAnnotation = "io.agentctl.image.manifest"
)

// bundle is a folder or an archive with files in it.
type bundle interface {
	// open opens a file at an offset.
	open(name string, offset int64) (io.ReadCloser, error)
	close() error
}

// layout reads an image from an OCI image layout.
type layout struct {
	in     bundle
	name   string
	chosen v1.Descriptor // of the image, once it was looked for
	called []string      // its names
}

func (l *layout) original() string { return l.chosen.Annotations[originalAnnotation] }

// names are what the archive calls the image.
func (l *layout) names() []string { return l.called }

func openLayout(ref Reference) (source, error) {
	files, err := tree.OpenFiles(ref.path)
	if err != nil {
		return nil, fmt.Errorf("cannot open the layout: %w", err)
	}
	return &layout{in: folder{files}, name: ref.name}, nil
}

// folder is a bundle that is a folder, which somebody may be changing.
type folder struct{ files tree.Files }

func (f folder) open(name string, offset int64) (io.ReadCloser, error) {
	file, err := f.files.Open(name)
	if err != nil {
		return nil, err
	}
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

func (f folder) close() error { return f.files.Close() }

func (l *layout) close() error { return l.in.close() }

func (l *layout) blob(_ context.Context, d v1.Descriptor, offset int64) (io.ReadCloser, error) {
	return l.in.open(path.Join("blobs", d.Digest.Algorithm, d.Digest.Hex), offset)
}

func (l *layout) manifest(ctx context.Context, digest string) ([]byte, string, error) {
	if digest != "" {
		h, err := v1.NewHash(digest)
		if err != nil {
			return nil, "", err
		}
		raw, err := readFile(l.in, path.Join("blobs", h.Algorithm, h.Hex), maxManifest)
		if err == nil {
			err = check(raw, digest)
		}
		return raw, "", err
	}
	raw, err := readFile(l.in, "index.json", maxManifest)
	if err != nil {
		return nil, "", fmt.Errorf("cannot read the index of the layout: %w", err)
	}
	var index v1.IndexManifest
	if err := json.Unmarshal(raw, &index); err != nil {
		return nil, "", fmt.Errorf("cannot read the index of the layout: %w", err)
	}
	chosen, err := l.choose(index.Manifests)
	if err != nil || chosen == nil {
		return raw, string(index.MediaType), err
	}
	l.chosen = *chosen
	raw, _, err = l.manifest(ctx, chosen.Digest.String())
	return raw, string(chosen.MediaType), err
}

// choose finds the image that is meant; nil if it is one of all that the layout holds,
// by its platform.
func (l *layout) choose(all []v1.Descriptor) (*v1.Descriptor, error) {
	var names []string
	found := -1
	called := map[string][]string{} // by digest
	for i, d := range all {
		for _, key := range []string{containerdAnnotation, nameAnnotation} {
			n := d.Annotations[key]
			if n == "" {
				continue
			}
			if found < 0 && l.name != "" && sameName(n, l.name) {
				found = i
			}
			names = append(names, n)
			called[d.Digest.String()] = append(called[d.Digest.String()], n)
		}
	}
	switch {
	case l.name != "" && found < 0:
		return nil, fmt.Errorf("no image is called %.128q there: there are %.300q", l.name, names)
	case len(all) == 0:
		return nil, errors.New("there is no image in it")
	case found < 0 && lo.EveryBy(all, func(d v1.Descriptor) bool { return d.Digest == all[0].Digest }):
		found = 0
	case found < 0 && lo.SomeBy(names, func(n string) bool { return !sameName(n, names[0]) }):
		return nil, fmt.Errorf("there are several images; say which: %.300q", names)
	}
	if found < 0 {
		l.called = names
		return nil, nil
	}
	l.called = called[all[found].Digest.String()]
	return &all[found], nil
}

// sameName tells whether two names mean the same image.
func sameName(a, b string) bool {
	if a == b {
		return true
	}
	one, err := ParseReference(a)
	other, oerr := ParseReference(b)
	return err == nil && oerr == nil && one.String() == other.String()
}

func readFile(in bundle, name string, max int64) ([]byte, error) {
	f, err := in.open(name, 0)
	if err != nil {
		return nil, err
	}
	data, err := readAll(f, max)
	if err != nil {
		err = &os.PathError{Op: "read", Path: name, Err: err}
	}
	return data, errors.Join(err, f.Close())
}
