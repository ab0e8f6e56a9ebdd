package repo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"agentctl/envcache"
	"agentctl/envcache/internal/urgency"
	"agentctl/internal/shelf"
	"agentctl/internal/tree"
)

// Options of a Store. The zero value is ready.
type Options struct {
	// Exec runs git; nil: envcache.HostExec.
	Exec envcache.Exec
	Log  *slog.Logger
	// Silent is the longest time without a word from git; 0: 10 minutes.
	Silent time.Duration
	// Getenv reads the environment of the agent; nil: os.Getenv.
	Getenv func(string) string
	// Give publishes a tree and gives it to a user, as tree.Publish, where this process,
	// which is not root, can't; nil: all checkouts are its own.
	Give func(ctx context.Context, top string, uid, gid int) error
}

const defaultSilent = 10 * time.Minute

// Store holds the mirrors and checkouts of one state folder. Its methods may be
// called from many goroutines, and on one state folder from many processes of
// one machine, at once.
type Store struct {
	state     string
	git       *git
	log       *slog.Logger
	mirrors   *shelf.Shelf[mirrorRecord]
	checkouts *shelf.Shelf[checkoutRecord]
	give      func(ctx context.Context, top string, uid, gid int) error // nil: this process can
	board     urgency.Board                                             // mirrors and checkouts, by key
	now       func() time.Time
}

// checkoutRecord is what is known of a checkout besides its files.
type checkoutRecord struct {
	URL      string   `json:"url"`
	Commit   string   `json:"commit"`
	Warnings []string `json:"warnings"`
}

// Open opens the store in the state folder dir, and removes what dead processes
// left. Tasks of other users need to pass through dir.
func Open(dir string, opts Options) (*Store, error) {
	if opts.Exec == nil {
		opts.Exec = envcache.HostExec{}
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Getenv == nil {
		opts.Getenv = os.Getenv
	}
	if opts.Silent == 0 {
		opts.Silent = defaultSilent
	}
	s := &Store{log: opts.Log, give: opts.Give, now: time.Now}
	if err := s.open(dir, opts); err != nil {
		return nil, fmt.Errorf("cannot keep repositories: %w", err)
	}
	return s, nil
}

func (s *Store) open(dir string, opts Options) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("%q is no absolute path", dir)
	}
	repos := filepath.Join(dir, "repos")
	if err := os.MkdirAll(repos, 0o711); err != nil {
		return err
	}
	real, err := filepath.EvalSymlinks(repos)
	if err != nil {
		return err
	}
	s.state = filepath.Dir(real)
	for _, d := range []string{s.state, real} {
		info, err := os.Stat(d)
		if err == nil && os.Geteuid() == 0 && info.Mode().Perm()&0o011 != 0o011 {
			err = os.Chmod(d, info.Mode().Perm()|0o011)
		}
		if err != nil {
			return err
		}
	}
	if s.git, err = newGit(real, opts); err != nil {
		return err
	}
	s.mirrors, err = shelf.Open[mirrorRecord](filepath.Join(real, "mirrors"), shelf.Options{Name: "mirror", Log: opts.Log})
	if err != nil {
		return err
	}
	// Objects in mirrors can be read by everybody, so that checkouts may share
	// them; this folder is what keeps people out.
	if err := os.Chmod(s.mirrors.Dir(), 0o700); err != nil {
		return err
	}
	s.checkouts, err = shelf.Open[checkoutRecord](filepath.Join(real, "checkouts"), shelf.Options{Name: "checkout", Log: opts.Log})
	return err
}

// Acquire leases the checkout of src, making it if need be. progress may be
// nil. With a full commit id, a hit starts no program and needs no network. In a
// context of envcache.Background it lets tasks have the machine.
func (s *Store) Acquire(ctx context.Context, src Source, progress func(envcache.Progress)) (*Checkout, error) {
	start := s.now()
	r, err := s.check(ctx, src, progress)
	if err != nil {
		return nil, err
	}
	commit := src.Commit
	if !fullCommit(commit) {
		if err = r.logIn(ctx); err == nil {
			commit, err = s.resolve(ctx, r)
		}
		if err != nil {
			return nil, fmt.Errorf("cannot get the repository %s: %w", r.addr.url, err)
		}
	}
	key := keyOf(r, commit)
	held, err := s.checkouts.Peek(key)
	if err != nil {
		if err := r.logIn(ctx); err != nil {
			return nil, fmt.Errorf("cannot get the repository %s: %w", r.addr.url, err)
		}
		defer s.board.Enter(ctx, key)()
		held, err = s.checkouts.Get(ctx, key, func() { r.say("repository", "waiting for another task's checkout of the same commit") },
			func(ctx context.Context, m shelf.Making) (checkoutRecord, int64, error) {
				return s.make(ctx, r, commit, m)
			})
	}
	if err != nil {
		return nil, fmt.Errorf("cannot get the repository %s: %w", r.addr.url, err)
	}
	took := s.now().Sub(start)
	return &Checkout{
		Path: held.Path, URL: r.link, Branch: src.Branch, Commit: commit, Key: key, Hit: held.Hit,
		Warnings: held.Entry.Warnings, Took: took, held: held,
	}, nil
}

// schema is the version of what make does.
const schema = 1

// keyOf is the key of a checkout. No secret is in it.
func keyOf(r *request, commit string) string {
	diff := sha256.Sum256([]byte(r.src.Diff))
	if r.src.Diff == "" {
		diff = [sha256.Size]byte{}
	}
	data, err := json.Marshal([]any{schema, r.addr.url, commit, hex.EncodeToString(diff[:]), r.uid, r.gid})
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return digest(string(data))
}

func digest(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:16])
}

// Copy copies the checkout to dst, which must not exist, for hosts where it
// can't be mounted privately. The copy belongs to the owner of the checkout,
// and shares nothing with it.
func (s *Store) Copy(ctx context.Context, c *Checkout, dst string) error {
	uid, gid := -1, -1
	if info, err := os.Stat(c.Path); err == nil && os.Geteuid() == 0 {
		uid, gid = idsOf(info)
	}
	if err := tree.Copy(ctx, c.Path, dst, uid, gid, nil); err != nil {
		return errors.Join(fmt.Errorf("cannot copy a checkout: %w", err), removeIfMade(dst, err))
	}
	return nil
}

// removeIfMade removes a copy that was not finished, not what stood in its way.
func removeIfMade(dst string, err error) error {
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return tree.Remove(dst)
}

// Collect removes checkouts, and then mirrors, over the limits: the least
// recently used first, one at a time, never what is leased or at work. The size
// of mirrors is not counted.
func (s *Store) Collect(ctx context.Context, lim envcache.Limits) (envcache.Collected, error) {
	done, err := s.checkouts.Collect(ctx, shelf.Limits(lim), s.now())
	if err != nil {
		return envcache.Collected(done), fmt.Errorf("cannot collect checkouts: %w", err)
	}
	lim.MaxBytes = 0
	mirrors, err := s.mirrors.Collect(ctx, shelf.Limits(lim), s.now())
	done.Removed = append(done.Removed, mirrors.Removed...)
	done.Kept += mirrors.Kept
	if err != nil {
		return envcache.Collected(done), fmt.Errorf("cannot collect mirrors: %w", err)
	}
	return envcache.Collected(done), nil
}
