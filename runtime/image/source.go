package image

import (
	"context"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// source is where the parts of an image come from. What it gives is not trusted.
type source interface {
	// manifest reads the manifest or index with a digest, or, if that is empty, the one
	// that the reference names. mediaType is what the source says it is; it may be empty.
	manifest(ctx context.Context, digest string) (raw []byte, mediaType string, err error)
	// blob reads the content of a descriptor from an offset on.
	blob(ctx context.Context, d v1.Descriptor, offset int64) (io.ReadCloser, error)
	close() error
}

// open opens the source of a reference.
func (s *Store) open(ctx context.Context, ref Reference) (source, error) {
	switch ref.where {
	case inRegistry:
		return s.openRegistry(ref.ref)
	case inLayout:
		return openLayout(ref)
	case byDigest:
		return nil, fmt.Errorf("%w, and a digest alone does not tell where it is", ErrAbsent)
	}
	return s.openArchive(ctx, ref)
}

// readAll reads what must have at most max bytes.
func readAll(r io.Reader, max int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, max+1))
	if err == nil && int64(len(data)) > max {
		err = fmt.Errorf("it has more than %d bytes", max)
	}
	return data, err
}

// check compares content with its digest.
func check(data []byte, digest string) error {
	h, err := v1.NewHash(digest)
	if err != nil {
		return err
	}
	sum, err := v1.Hasher(h.Algorithm)
	if err != nil {
		return err
	}
	_, _ = sum.Write(data)
	if got := fmt.Sprintf("%x", sum.Sum(nil)); got != h.Hex {
		return fmt.Errorf("%w: it has the digest %s:%s in place of %s", ErrDigest, h.Algorithm, got, digest)
	}
	return nil
}
