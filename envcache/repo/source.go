package repo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"agentctl/envcache"
	"agentctl/envcache/internal/secret"
	"agentctl/internal/shelf"
)

// Credentials are a user and a password, or a token as either of them, for the
// host of a source's http(s) URL.
type Credentials struct{ Username, Password string }

// Source names a state of a repository. Its strings may come from a task and
// are taken as hostile.
type Source struct {
	URL string // credentials in it are taken out and used
	// Commit, Tag, Branch: the first that is not empty counts; none: the
	// remote's HEAD.
	Commit, Tag, Branch string
	// Diff are uncommitted changes, as IsPatch accepts them; else empty.
	Diff string
	// Access is the way to it and to its submodules; credentials in an address count more
	// than those that it knows.
	Access Access
	// UID and GID own the checkout; envcache.SameUser: this process.
	UID, GID int
	// Offline has nothing fetched: what is here counts.
	Offline bool
	// Box, if not nil, is where git runs for a repository that is reached by http, https or
	// git. The others are this host's, or are reached with keys of this process's user, and
	// git runs as the store's options say.
	Box *Box
}

// Box is a sandbox of the host's programs for the git of one Acquire. It shows of the
// state folder what a Cmd names, and passes no descriptors on.
type Box struct {
	Exec envcache.Exec
	// End ends all that still runs in it: then a checkout is nobody's to write to any more.
	End func() error `json:"-"`
	// UID and GID are those of git on the host. Mirrors of one owner are never another's: what
	// git finds in one decides what it runs.
	UID, GID int
}

// Checkout is a leased working tree. It is a base that many tasks share: they
// must get it through an overlay, or as a Copy.
type Checkout struct {
	Path     string
	URL      string // without credentials
	Branch   string // as asked for
	Commit   string // in full
	Key      string
	Hit      bool
	Warnings []string // for the task's console
	Took     time.Duration
	held     *shelf.Lease[checkoutRecord]
}

// File holds the lease. A child that inherits it holds the lease as well.
func (c *Checkout) File() *os.File { return c.held.File() }

// Close gives this process's hold on the lease back.
func (c *Checkout) Close() error { return c.held.Close() }

// request is a checked Source.
type request struct {
	addr     address
	link     string // the source's URL without credentials, whatever the way to it
	src      Source
	box      *Box // nil: on the host
	uid, gid int
	secrets  *secret.Redactor
	say      func(step, text string)
}

func (s *Store) check(ctx context.Context, src Source, progress func(envcache.Progress)) (*request, error) {
	addr, err := parseAddress(src.URL)
	if err != nil {
		return nil, err
	}
	link, access := addr.url, src.Access
	if access.Protocol != ProtocolHTTPS || addr.scheme != "ssh" {
		access.Login = nil // the way does not hang on it: it is asked for when something is fetched
	}
	if addr, err = access.reach(ctx, addr); err != nil {
		return nil, err
	}
	if src.Commit != "" && !commitShape.MatchString(src.Commit) {
		return nil, fmt.Errorf("%q is no commit id", src.Commit)
	}
	err = errors.Join(checkOptionalRef("tag", src.Tag), checkOptionalRef("branch", src.Branch))
	if err != nil {
		return nil, err
	}
	if src.Diff != "" && !IsPatch(src.Diff) {
		return nil, errors.New("the uncommitted changes are no patch")
	}
	redact := &secret.Redactor{}
	redact.Add(addr.login)
	r := &request{addr: addr, link: link, src: src, uid: -1, gid: -1, secrets: redact}
	if addr.fetched() {
		r.box = src.Box
	}
	if (os.Geteuid() == 0 || s.give != nil) && src.UID > 0 {
		r.uid, r.gid = src.UID, max(src.GID, 0)
	}
	r.say = func(step, text string) {
		if progress != nil {
			progress(envcache.Progress{Time: s.now(), Step: step, Text: redact.Redact(text)})
		}
	}
	if link != addr.url {
		r.say("repository", "taking "+addr.url+" for "+link)
	}
	return r, nil
}

// logIn finds the login for the repository, if its address has none.
func (r *request) logIn(ctx context.Context) (err error) {
	if r.addr.origin != "" && r.addr.login.Empty() {
		r.addr.login, err = r.src.Access.login(ctx, r.addr.url)
		r.secrets.Add(r.addr.login)
	}
	return err
}

func checkOptionalRef(what, name string) error {
	if name == "" {
		return nil
	}
	return checkRef(what, name)
}
