package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// accept are the manifests that are understood.
var accept = strings.Join([]string{
	string(types.OCIImageIndex), string(types.DockerManifestList), string(types.OCIManifestSchema1), string(types.DockerManifestSchema2),
}, ", ")

// registry reads an image from the first of its endpoints that has it.
type registry struct {
	ref       name.Reference
	endpoints []*endpoint
}

// endpoint is one registry, or a mirror of it. It is spoken to when it is needed.
type endpoint struct {
	store  *Store
	repo   name.Repository
	mirror bool

	once   sync.Once
	client *http.Client
	err    error
}

func (s *Store) openRegistry(ref name.Reference) (*registry, error) {
	r := &registry{ref: ref}
	repo := ref.Context()
	for _, m := range s.opts.Mirrors[displayHost(repo.RegistryStr())] {
		at, err := s.repository(strings.TrimSuffix(m, "/") + "/" + repo.RepositoryStr())
		if err != nil {
			return nil, fmt.Errorf("cannot use the mirror %.128q: %w", m, err)
		}
		r.endpoints = append(r.endpoints, &endpoint{store: s, repo: at, mirror: true})
	}
	at, err := s.repository(repo.Name())
	if err != nil {
		return nil, err
	}
	r.endpoints = append(r.endpoints, &endpoint{store: s, repo: at})
	return r, nil
}

// repository names a repository, for use without TLS if it may be.
func (s *Store) repository(text string) (name.Repository, error) {
	repo, err := name.NewRepository(text)
	if err == nil && s.insecure(repo.RegistryStr()) {
		repo, err = name.NewRepository(text, name.Insecure)
	}
	return repo, err
}

// each tries all endpoints, until one does it.
func (r *registry) each(do func(*endpoint) error) error {
	var failed error
	for _, e := range r.endpoints {
		err := do(e)
		if err == nil {
			return nil
		}
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		failed = errors.Join(failed, fmt.Errorf("%s: %w", e.repo.RegistryStr(), err))
	}
	return failed
}

func (r *registry) manifest(ctx context.Context, digest string) (raw []byte, mediaType string, err error) {
	what := digest
	if what == "" {
		what = r.ref.Identifier()
	}
	err = r.each(func(e *endpoint) error {
		resp, err := e.get(ctx, "manifests", what, 0)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		mediaType = resp.Header.Get("Content-Type")
		if raw, err = readAll(resp.Body, maxManifest); err == nil && digest != "" {
			err = check(raw, digest)
		}
		return err
	})
	return raw, mediaType, err
}

func (r *registry) blob(ctx context.Context, d v1.Descriptor, offset int64) (body io.ReadCloser, err error) {
	err = r.each(func(e *endpoint) error {
		resp, err := e.get(ctx, "blobs", d.Digest.String(), offset)
		if err != nil {
			return err
		}
		if n := resp.ContentLength; n >= 0 && offset+n != d.Size {
			return errors.Join(fmt.Errorf("%w: it has %d bytes in place of %d", ErrDigest, offset+n, d.Size), resp.Body.Close())
		}
		body = resp.Body
		return nil
	})
	return body, err
}

func (r *registry) close() error { return nil }

// connect finds out how the registry wants to be spoken to, once.
func (e *endpoint) connect(ctx context.Context) (*http.Client, error) {
	e.once.Do(func() {
		var auth authn.Authenticator
		if auth, e.err = e.store.keychain.ResolveContext(ctx, e.repo); e.err != nil {
			return
		}
		var tr http.RoundTripper
		tr, e.err = transport.NewWithContext(ctx, e.repo.Registry, auth, e.store.transport, []string{e.repo.Scope(transport.PullScope)})
		e.client = &http.Client{Transport: tr, CheckRedirect: checkRedirect}
	})
	return e.client, e.err
}

// get asks for a manifest or a blob, from an offset on.
func (e *endpoint) get(ctx context.Context, what, which string, offset int64) (*http.Response, error) {
	client, err := e.connect(ctx)
	if err != nil {
		return nil, err
	}
	// The transport puts in the scheme that it found out.
	u := url.URL{Scheme: e.repo.Scheme(), Host: e.repo.RegistryStr(), Path: "/v2/" + e.repo.RepositoryStr() + "/" + what + "/" + which}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	if what == "manifests" {
		req.Header.Set("Accept", accept)
	}
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, withoutQuery(err)
	}
	if err := transport.CheckError(resp, http.StatusOK, http.StatusPartialContent); err != nil {
		_ = resp.Body.Close()
		return nil, err
	}
	if err := seek(resp, offset); err != nil {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("cannot go on at byte %d: %w", offset, err)
	}
	return resp, nil
}

// seek brings the answer to a request for a range to its begin: not every server
// knows ranges.
func seek(resp *http.Response, offset int64) error {
	if resp.StatusCode == http.StatusOK {
		if resp.ContentLength >= 0 {
			resp.ContentLength -= offset
		}
		_, err := io.CopyN(io.Discard, resp.Body, offset)
		return err
	}
	if begin := fmt.Sprintf("bytes %d-", offset); !strings.HasPrefix(resp.Header.Get("Content-Range"), begin) {
		return fmt.Errorf("the registry sent %q", resp.Header.Get("Content-Range"))
	}
	return nil
}

// withoutQuery takes from an error what signed addresses carry: who has them has the
// blob.
func withoutQuery(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		if at, perr := url.Parse(u.URL); perr == nil {
			at.RawQuery, at.User = "", nil
			u.URL = at.String()
		}
	}
	return err
}
