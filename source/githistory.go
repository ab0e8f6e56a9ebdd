package source

import (
	"context"
	"errors"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
)

// depths are how far back the server is asked for the commit that was applied, where
// it is not among those that are here.
var depths = []int{50, 2000, 1<<31 - 1}

// descends tells whether commit comes after base, or is it.
func (r *repository) descends(ctx context.Context, commit *object.Commit, base plumbing.Hash) (bool, error) {
	for _, depth := range append([]int{0}, depths...) {
		if depth > 0 {
			if err := r.deepen(ctx, commit.Hash, depth); err != nil {
				return false, err
			}
		}
		found, whole, err := r.behind(commit, base)
		if err != nil || found || whole {
			return found, err
		}
	}
	return false, nil
}

// behind looks for base in the history of commit; whole tells that all of it is here.
func (r *repository) behind(commit *object.Commit, base plumbing.Hash) (found, whole bool, err error) {
	seen, next := map[plumbing.Hash]bool{}, []plumbing.Hash{commit.Hash}
	whole = true
	for len(next) > 0 {
		hash := next[len(next)-1]
		next = next[:len(next)-1]
		if hash == base {
			return true, whole, nil
		}
		if seen[hash] {
			continue
		}
		seen[hash] = true
		c, err := object.GetCommit(r.st, hash)
		switch {
		case errors.Is(err, plumbing.ErrObjectNotFound):
			whole = false
		case err != nil:
			return false, false, damaged(err)
		default:
			next = append(next, c.ParentHashes...)
		}
	}
	return false, whole, nil
}

// deepen fetches the history of the wanted ref to a depth.
func (r *repository) deepen(ctx context.Context, commit plumbing.Hash, depth int) error {
	c, err := r.git.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	adv, err := c.AdvertisedReferencesContext(ctx)
	if err != nil {
		return err
	}
	want, err := r.git.wanted(adv.Head, adv.References)
	if err != nil {
		return err
	}
	req := r.request(adv, want)
	if req.Capabilities.Supports(capability.Shallow) {
		req.Depth = packp.DepthCommits(depth)
	}
	r.log.Debug("looking further back in the repository's history", "commit", commit.String(), "depth", depth)
	return r.fetch(ctx, c, req)
}

// damagedError says that the copy can't be read; it is made anew.
type damagedError struct{ err error }

func (e *damagedError) Error() string {
	return "the copy of the repository can't be read: " + e.err.Error()
}
func (e *damagedError) Unwrap() error { return e.err }

func damaged(err error) error { return &damagedError{err} }
