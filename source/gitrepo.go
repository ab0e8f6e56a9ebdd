package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/samber/lo"

	"agentctl/internal/crash"
)

// repository is the bare copy of a followed repository. It holds what was fetched:
// first the newest commit alone, then what came after it. It may be removed at any
// time, and is fetched again.
type repository struct {
	dir string
	git Git
	log *slog.Logger
	st  *filesystem.Storage
}

// keptRef names the newest commit that was fetched.
const keptRef = plumbing.ReferenceName("refs/heads/newest")

// maxPacks is how many answers of the server are kept before all is fetched anew:
// cheaper than to repack, and the copy stays small.
const maxPacks = 50

// open opens the copy or makes an empty one.
func (r *repository) open() error {
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return fmt.Errorf("cannot keep the repository: %w", err)
	}
	left, _ := filepath.Glob(filepath.Join(r.dir, "incoming-*")) // of a crash
	more, _ := filepath.Glob(filepath.Join(r.dir, "objects", "pack", "tmp_*"))
	packs, _ := filepath.Glob(filepath.Join(r.dir, "objects", "pack", "*.pack"))
	for _, path := range append(left, more...) {
		_ = os.Remove(path)
	}
	if len(packs) > maxPacks {
		return r.renew()
	}
	r.st = filesystem.NewStorageWithOptions(osfs.New(r.dir, osfs.WithBoundOS()), cache.NewObjectLRU(8*cache.MiByte), filesystem.Options{})
	if _, err := r.st.Reference(plumbing.HEAD); err == nil {
		return nil
	}
	cfg := config.NewConfig()
	cfg.Core.IsBare = true
	if err := errors.Join(r.st.Init(), r.st.SetConfig(cfg), r.st.SetReference(plumbing.NewSymbolicReference(plumbing.HEAD, keptRef))); err != nil {
		return fmt.Errorf("cannot keep the repository: %w", err)
	}
	return nil
}

// renew begins with an empty copy.
func (r *repository) renew() error {
	r.close()
	if err := os.RemoveAll(r.dir); err != nil {
		return fmt.Errorf("cannot remove the copy of the repository: %w", err)
	}
	return r.open()
}

func (r *repository) close() {
	if r.st != nil {
		_ = r.st.Close()
	}
	r.st = nil
}

// tip asks the server for the wanted ref, fetches what is not here yet, and returns
// the commit that it leads to.
func (r *repository) tip(ctx context.Context) (*object.Commit, error) {
	c, err := r.git.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.Close() }()
	adv, err := c.AdvertisedReferencesContext(ctx)
	if err != nil {
		return nil, err
	}
	hash, err := r.git.wanted(adv.Head, adv.References)
	if err != nil {
		return nil, err
	}
	if r.st.HasEncodedObject(hash) != nil {
		req := r.request(adv, hash)
		if kept, err := r.st.Reference(keptRef); err == nil && r.st.HasEncodedObject(kept.Hash()) == nil {
			req.Haves = []plumbing.Hash{kept.Hash()}
			req.Shallows, _ = r.st.Shallow()
		} else if req.Capabilities.Supports(capability.Shallow) {
			req.Depth = packp.DepthCommits(1)
		}
		if err := r.fetch(ctx, c, req); err != nil {
			return nil, err
		}
	}
	commit, err := r.commit(hash)
	if err != nil {
		return nil, err
	}
	return commit, r.st.SetReference(plumbing.NewHashReference(keptRef, commit.Hash))
}

func (r *repository) request(adv *packp.AdvRefs, want plumbing.Hash) *packp.UploadPackRequest {
	req := packp.NewUploadPackRequestFromCapabilities(adv.Capabilities)
	req.Wants = []plumbing.Hash{want}
	for _, c := range []capability.Capability{capability.Shallow, capability.NoProgress} {
		if adv.Capabilities.Supports(c) {
			_ = req.Capabilities.Set(c)
		}
	}
	return req
}

// fetch stores what the server answers, after a look at its sizes.
func (r *repository) fetch(ctx context.Context, c conn, req *packp.UploadPackRequest) error {
	res, err := c.UploadPack(ctx, req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Close() }()
	f, err := os.CreateTemp(r.dir, "incoming-*")
	if err != nil {
		return fmt.Errorf("cannot keep what the server sent: %w", err)
	}
	defer func() { _, _ = f.Close(), os.Remove(f.Name()) }()
	n, err := io.Copy(f, io.LimitReader(content(req.Capabilities, res), maxPack+1))
	if err != nil {
		return err
	}
	if n > maxPack {
		return errTooLarge
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	count, err := checkPack(f)
	if err != nil || count == 0 {
		return err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	crash.Point("source.git.fetched")
	if err := packfile.UpdateObjectStorage(r.st, f); err != nil {
		return fmt.Errorf("cannot keep what the server sent: %w", err)
	}
	crash.Point("source.git.stored")
	return r.cut(res.Shallows)
}

// cut records where the history that is here ends: the server must not take what
// lies behind for here.
func (r *repository) cut(ends []plumbing.Hash) error {
	was, err := r.st.Shallow()
	if err != nil {
		return err
	}
	return r.st.SetShallow(lo.Filter(lo.Uniq(append(was, ends...)), func(h plumbing.Hash, _ int) bool {
		c, err := object.GetCommit(r.st, h)
		return err == nil && lo.SomeBy(c.ParentHashes, func(p plumbing.Hash) bool { return r.st.HasEncodedObject(p) != nil })
	}))
}

// commit finds the commit that a hash is, or the tags that lead to it.
func (r *repository) commit(hash plumbing.Hash) (*object.Commit, error) {
	for range 10 {
		o, err := object.GetObject(r.st, hash)
		if err != nil {
			return nil, damaged(err)
		}
		switch o := o.(type) {
		case *object.Commit:
			return o, nil
		case *object.Tag:
			hash = o.Target
		default:
			return nil, gitError("RefNotFound", "the ref leads to a %s, not to a commit", o.Type())
		}
	}
	return nil, gitError("RefNotFound", "the ref is a tag of tags without end")
}
