package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"

	"agentctl/spec"
)

// gitReading is one look at a repository.
type gitReading struct {
	text   []byte
	commit *Commit // of the text, or of what was refused
	err    error
}

// read looks at the repository now. The newest commit must be signed, if g says so,
// and come after base, unless that is "". A copy that is damaged is made anew.
func (r *repository) read(ctx context.Context, base string) gitReading {
	ctx, cancel := context.WithTimeoutCause(ctx, fetchTimeout, fmt.Errorf("the server did not finish within %s", fetchTimeout))
	defer cancel()
	out, err := r.look(ctx, base)
	var broken *damagedError
	if errors.As(err, &broken) {
		r.log.Warn("fetching the repository anew", "error", err)
		if err = r.renew(); err == nil {
			out, err = r.look(ctx, base)
		}
	}
	r.close()
	if err != nil {
		out.text, out.err = nil, r.explain(ctx, err, out.commit)
	}
	return out
}

func (r *repository) look(ctx context.Context, base string) (out gitReading, err error) {
	if r.st == nil {
		if err := r.open(); err != nil {
			return out, err
		}
	}
	c, err := r.tip(ctx)
	if err != nil {
		return out, err
	}
	out.commit = commitOf(c)
	if r.git.signed() {
		if out.commit.Signer, err = r.git.signer(c); err != nil {
			return out, err
		}
	}
	if base != "" {
		after, err := r.descends(ctx, c, plumbing.NewHash(base))
		if err != nil {
			return out, err
		}
		if !after {
			return out, gitError("NotDescendant", "it does not come after %.12s, which was applied last: the history was rewritten; to go along, run agentctl reconcile --now --accept-rewind", base)
		}
	}
	out.text, err = textOf(r.st, c, r.git.Path)
	return out, err
}

func commitOf(c *object.Commit) *Commit {
	subject := c.Message
	for i, b := range []byte(subject) {
		if b == '\n' {
			subject = subject[:i]
			break
		}
	}
	return &Commit{
		Hash: c.Hash.String(), Author: plain(fmt.Sprintf("%s <%s>", c.Author.Name, c.Author.Email)),
		Time: c.Author.When.UTC(), Subject: plain(subject),
	}
}

// explain gives an error a reason, and takes out of it what changes from one try to
// the next, as ports, and what a server or a library may have put into it.
func (r *repository) explain(ctx context.Context, err error, c *Commit) error {
	var known *ReadError
	var auth *authError
	var op *net.OpError
	var dns *net.DNSError
	var answer *githttp.Err
	var web *url.Error
	where := r.git.URL
	switch {
	case errors.As(err, &known) && c != nil:
		return &ReadError{reason: known.reason, err: fmt.Errorf("commit %.12s of %s (%s): %w", c.Hash, c.Author, c.Subject, known.err), git: true}
	case errors.As(err, &known):
		return known
	case errors.As(err, &auth):
		return gitError("GitAuth", "%s: %w", where, auth.err)
	case errors.Is(err, transport.ErrAuthenticationRequired), errors.Is(err, transport.ErrAuthorizationFailed):
		return gitError("GitAuth", "%s: the server refuses the login, or wants one", where)
	case errors.Is(err, transport.ErrRepositoryNotFound) && strings.HasPrefix(where, "http"): // the rest is a page of HTML
		return gitError("RepositoryNotFound", "%s: there is no such repository, or the login may not see it", where)
	case errors.Is(err, transport.ErrRepositoryNotFound):
		return gitError("RepositoryNotFound", "%s: %s", where, plain(err.Error()))
	case errors.Is(err, transport.ErrEmptyRemoteRepository):
		return gitError("RefNotFound", "%s: the repository is empty", where)
	case errors.Is(err, errTooLarge):
		return gitError("TooLarge", "%s: the server sent more than is taken: %w", where, err)
	case ctx.Err() != nil:
		return gitError("GitUnreachable", "%s: %w", where, context.Cause(ctx))
	case errors.As(err, &dns):
		return gitError("GitUnreachable", "%s: the name %s is not found", where, dns.Name)
	case errors.As(err, &op):
		return gitError("GitUnreachable", "%s: %s: %w", where, op.Op, op.Err)
	case errors.As(err, &answer):
		return gitError("GitUnreachable", "%s: the server answers %d %s", where, answer.StatusCode(), http.StatusText(answer.StatusCode()))
	case errors.As(err, &web):
		return gitError("GitUnreachable", "%s: %s", where, plain(web.Err.Error()))
	}
	return gitError("GitUnreachable", "%s: %s", where, plain(err.Error()))
}

// ReadGit looks at a repository with a copy in dir. The first error of g, or of the
// look, is returned; the commit is there whenever one was found.
func ReadGit(ctx context.Context, dir string, g Git, opts Options) ([]byte, *Commit, error) {
	g, err := g.Checked()
	if err != nil {
		return nil, nil, err
	}
	r := repository{dir: dir, git: g, log: opts.Log}
	out := r.read(ctx, "")
	if out.err != nil {
		return nil, out.commit, out.err
	}
	if _, problems := spec.DecodeFor(g.Path, out.text, opts.Host); problems.Err() != nil {
		return out.text, out.commit, problems.Err()
	}
	return out.text, out.commit, nil
}
