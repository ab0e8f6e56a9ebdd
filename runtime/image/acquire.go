package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	goruntime "runtime"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"agentctl/internal/crash"
	"agentctl/internal/shelf"
)

// Policy says when an image is looked up where it comes from.
type Policy string

// Policies, with Kubernetes' names.
const (
	IfNotPresent Policy = "ifNotPresent"
	Always       Policy = "always"
	Never        Policy = "never"
)

// ErrAbsent means that an image is not here, and must not be pulled.
var ErrAbsent = errors.New("the image is not here")

// Request asks for an image.
type Request struct {
	Ref    string
	Policy Policy // empty: IfNotPresent
	// Platform is OS/ARCHITECTURE[/VARIANT]; empty: this host's.
	Platform string
	// Local allows a reference to a file or folder of this host, or to the host itself: the
	// operator's, never a task's.
	Local bool
	// Gently asks for it for a task that has not come yet: slowly, until somebody waits.
	Gently bool
}

// request is a Request that was understood.
type request struct {
	ref      Reference
	policy   Policy
	platform v1.Platform
	gently   bool
}

func (r Request) parse() (request, error) {
	ref, err := ParseReference(r.Ref)
	if err != nil {
		return request{}, err
	}
	if ref.Local() && !r.Local {
		return request{}, fmt.Errorf("%.128q is of this host, which only the operator may choose", r.Ref)
	}
	q := request{ref: ref, policy: r.Policy, gently: r.Gently, platform: v1.Platform{OS: "linux", Architecture: goruntime.GOARCH}}
	switch r.Policy {
	case "":
		q.policy = IfNotPresent
	case IfNotPresent, Always, Never:
	default:
		return request{}, fmt.Errorf("%.32q is no pull policy", r.Policy)
	}
	if ref.where == byDigest && q.policy == Always {
		q.policy = IfNotPresent // it is what it is
	}
	if r.Platform != "" {
		p, err := v1.ParsePlatform(r.Platform)
		if err != nil || p.OS == "" || p.Architecture == "" {
			return request{}, fmt.Errorf("%.64q is no platform: write OS/ARCHITECTURE", r.Platform)
		}
		q.platform = *p
	}
	return q, nil
}

// Acquire leases an image, pulled first if need be. say may be nil; it is called by one
// goroutine at a time, and by none after Acquire.
func (s *Store) Acquire(ctx context.Context, req Request, say func(Progress)) (*Lease, error) {
	q, err := req.parse()
	if err != nil {
		return nil, err
	}
	if !q.gently {
		s.awaited.Add(1)
		defer s.awaited.Add(-1)
	}
	if q.ref.where == onHost {
		return &Lease{Ref: Host, Host: true, Config: Config{OS: "linux", Architecture: goruntime.GOARCH}}, nil
	}
	if q.policy != Always {
		l, err := s.present(q)
		if err == nil {
			return l, nil
		}
		if q.policy == Never {
			return nil, fmt.Errorf("cannot get the image %s: %w", q.ref, ErrAbsent)
		}
	}
	if s.delegates() {
		return s.acquireInside(ctx, req, say)
	}
	l, err := s.acquire(ctx, q, newReporter(say, s.opts.Now))
	if err != nil {
		return nil, fmt.Errorf("cannot get the image %s: %w", q.ref, err)
	}
	return l, nil
}

// acquire looks an image up where it comes from.
func (s *Store) acquire(ctx context.Context, q request, r *reporter) (*Lease, error) {
	mark := "" // taken first: what changes meanwhile is read again next time
	if q.ref.Local() {
		mark = stamp(q.ref)
	}
	src, err := s.open(ctx, q.ref)
	if err != nil {
		return nil, err
	}
	defer func() { _ = src.close() }()
	f, err := resolve(ctx, src, q.ref.digest(), q.platform, s.opts.Limits)
	if err != nil {
		return nil, err
	}
	crash.Point("image.resolved")
	l, err := s.fetch(ctx, src, f, q, r)
	if err != nil {
		return nil, err
	}
	err = s.remember(refRecord{
		Ref: q.ref.String(), Platform: q.platform.String(), Digest: f.digest, Key: l.held.Key, Looked: s.opts.Now().UTC(), Stamp: mark,
	})
	if err != nil {
		return nil, errors.Join(err, l.held.Unlock())
	}
	return l, nil
}

// present leases an image that is here, by what its reference was when it was last
// looked up.
func (s *Store) present(q request) (*Lease, error) {
	rec, err := s.recall(q.ref.String(), q.platform.String())
	switch digest := q.ref.digest(); {
	case err == nil && q.ref.Local() && rec.Stamp != stamp(q.ref) && q.policy != Never:
		err = fs.ErrNotExist // it was written anew
	case err != nil && digest != "":
		rec.Key, err = s.imageKey(digest), nil // by whatever name it came
	}
	if err != nil {
		return nil, err
	}
	if rec.Key != s.imageKey(rec.Digest) && rec.Digest != "" {
		return nil, fs.ErrNotExist // unpacked in another way
	}
	held, err := s.images.Peek(rec.Key)
	if err != nil {
		return nil, err
	}
	if err := held.Entry.Config.fits(q.platform); err != nil {
		return nil, errors.Join(err, held.Unlock())
	}
	return s.newLease(q.ref, held), nil
}

// fetch leases the image of a manifest, and makes it if it is not here.
func (s *Store) fetch(ctx context.Context, src source, f *found, q request, r *reporter) (*Lease, error) {
	p := &pull{store: s, src: src, found: f, q: q, report: r}
	defer p.release()
	waiting := func() { r.text("", "waiting for another one that pulls %s", q.ref) }
	held, err := s.images.Get(ctx, s.imageKey(f.digest), waiting, func(ctx context.Context, m shelf.Making) (imageRecord, int64, error) {
		return p.run(ctx, m)
	})
	if err != nil {
		return nil, err
	}
	if err := held.Entry.Config.fits(q.platform); err != nil { // it came for another request
		return nil, errors.Join(err, held.Unlock())
	}
	l := s.newLease(q.ref, held)
	if l.Pulled {
		l.Took = held.Entry.Took
		s.flushLater(held.Key)
		r.text("", "pulled %s, %s", q.ref.pinned(f.digest), since(r.start, s.opts.Now()))
	}
	return l, nil
}
