package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/samber/lo"
	"golang.org/x/sys/unix"
)

// ImportOptions say what an image in an archive is called.
type ImportOptions struct {
	// Name is a reference that the image gets; empty: those that the archive tells.
	Name string
	// Of is the image that is meant, if there are several.
	Of string
	// Platform as in Request.
	Platform string
}

// named is a source that tells names.
type named interface{ names() []string }

// Import makes an image of an archive that Export, docker save or another tool wrote,
// and leases it. The name that it gets is found by requests as if it had been pulled.
func (s *Store) Import(ctx context.Context, r io.Reader, o ImportOptions, say func(Progress)) (*Lease, error) {
	if s.delegates() {
		a, err := s.delegate(ctx, order{Import: &o}, say, r, nil)
		if err != nil {
			return nil, err
		}
		return s.leaseFrom(a)
	}
	l, err := s.importFrom(ctx, r, o, newReporter(say, s.opts.Now))
	if err != nil {
		return nil, fmt.Errorf("cannot import an image: %w", err)
	}
	return l, nil
}

func (s *Store) importFrom(ctx context.Context, r io.Reader, o ImportOptions, report *reporter) (*Lease, error) {
	q, err := Request{Ref: "import:latest", Platform: o.Platform}.parse()
	if err != nil {
		return nil, err
	}
	if o.Name != "" {
		if q.ref, err = registryRef(o.Name); err != nil {
			return nil, err
		}
	}
	src, err := s.sourceOf(ctx, r, o.Of)
	if err != nil {
		return nil, err
	}
	defer func() { _ = src.close() }()
	f, err := resolve(ctx, src, "", q.platform, s.opts.Limits)
	if err != nil {
		return nil, err
	}
	names := []string{q.ref.String()}
	if o.Name == "" {
		if names = namesOf(src); len(names) == 0 {
			return nil, errors.New("the archive does not tell the name of the image; give one")
		}
		if q.ref, err = registryRef(names[0]); err != nil {
			return nil, err
		}
	}
	l, err := s.fetch(ctx, src, f, q, report)
	if err != nil {
		return nil, err
	}
	for _, n := range names {
		err := s.remember(refRecord{Ref: n, Platform: v1.Platform{OS: q.platform.OS, Architecture: q.platform.Architecture}.String(), Digest: f.digest, Key: l.held.Key, Looked: s.opts.Now().UTC()})
		if err != nil {
			return nil, errors.Join(err, l.held.Unlock())
		}
	}
	return l, nil
}

func registryRef(text string) (Reference, error) {
	ref, err := ParseReference(text)
	if err == nil && ref.where != inRegistry {
		err = fmt.Errorf("%.128q is no name for an image", text)
	}
	return ref, err
}

// namesOf are the names that a source tells, as references. Some tools tell a tag alone.
func namesOf(src source) []string {
	n, ok := src.(named)
	if !ok {
		return nil
	}
	return lo.Uniq(lo.FilterMap(n.names(), func(text string, _ int) (string, bool) {
		ref, err := registryRef(text)
		if err != nil || !strings.ContainsAny(text, "/:") {
			return "", false
		}
		return ref.String(), true
	}))
}

// sourceOf reads an archive from a stream: in place, if that is a file that is not
// packed.
func (s *Store) sourceOf(ctx context.Context, r io.Reader, of string) (source, error) {
	if f, ok := r.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			// The source closes its own copy.
			fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
			if err != nil {
				return nil, err
			}
			own := os.NewFile(uintptr(fd), f.Name())
			if _, err := own.Seek(0, io.SeekStart); err != nil {
				return nil, closing(own, err)
			}
			return s.readArchive(ctx, own, of)
		}
	}
	f, err := s.spool(ctx, r)
	if err != nil {
		return nil, err
	}
	return s.readArchive(ctx, f, of)
}
