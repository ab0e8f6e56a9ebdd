package imagekit

import (
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// write writes an image as an OCI layout.
func write(dir string, img v1.Image) error {
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	return l.AppendImage(img)
}

// first reads the image of a layout that write wrote.
func first(dir string) (v1.Image, error) {
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		return nil, err
	}
	m, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	if len(m.Manifests) != 1 {
		return nil, fmt.Errorf("%s holds %d images", dir, len(m.Manifests))
	}
	return index.Image(m.Manifests[0].Digest)
}
