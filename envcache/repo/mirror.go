package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"agentctl/internal/crash"
	"agentctl/internal/fsx"
	"agentctl/internal/shelf"
	"agentctl/internal/tree"
)

type mirrorRecord struct {
	URL string `json:"url"`
}

// mirror is a leased mirror under its lock: exclusive while it is written,
// shared while it is read.
type mirror struct {
	store *Store
	r     *request
	addr  address
	dir   string
	held  *shelf.Lease[mirrorRecord]
	lock  *fsx.Lock
	leave func()
	box   *Box // nil: on the host
}

// boxFolder of a mirror is what a box shows. It is ours, and so are the names in it: git
// there may write to the folders in it only, and can't put links in their places.
const boxFolder = "box"

func (m *mirror) shared() string { return filepath.Join(m.dir, boxFolder) }

func (m *mirror) repo() string {
	if m.box != nil {
		return filepath.Join(m.shared(), "repo.git")
	}
	return filepath.Join(m.dir, "repo.git")
}

// key is that of a mirror: those that git in a box may write to are apart.
func (m *mirror) key() string { return mirrorKey(m.box, m.addr) }

func mirrorKey(box *Box, addr address) string {
	if box == nil {
		return digest(addr.url)
	}
	return digest(fmt.Sprintf("%d:%d %s", box.UID, box.GID, addr.url))
}
func (m *mirror) busy() string { return filepath.Join(m.dir, "busy") }

func (m *mirror) close() {
	if m.lock != nil {
		_ = m.lock.Close()
	}
	_ = m.held.Close()
	m.leave()
}

// mirror leases the mirror of addr and locks it exclusively.
func (s *Store) mirror(ctx context.Context, r *request, addr address) (*mirror, error) {
	if addr.local() {
		if err := s.readable(ctx, r, addr); err != nil {
			return nil, err
		}
	}
	m := &mirror{store: s, r: r, addr: addr}
	if addr.fetched() {
		m.box = r.box
	}
	m.leave = s.board.Enter(ctx, m.key())
	var err error
	m.held, err = s.mirrors.Get(ctx, m.key(), nil, func(_ context.Context, made shelf.Making) (mirrorRecord, int64, error) {
		return mirrorRecord{addr.url}, 0, m.begin(made.Path)
	})
	if err != nil {
		m.leave()
		return nil, err
	}
	m.dir = m.held.Path
	if m.lock, err = fsx.TryLock(filepath.Join(m.dir, "lock")); errors.Is(err, fsx.ErrLocked) {
		r.say("repository", "waiting for another fetch of "+addr.url)
		m.lock, err = fsx.WaitLock(ctx, filepath.Join(m.dir, "lock"))
	}
	if err == nil {
		err = m.repair(ctx)
	}
	if err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

// begin makes the folders of a mirror.
func (m *mirror) begin(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil || m.box == nil {
		return err
	}
	shared := filepath.Join(dir, boxFolder)
	return errors.Join(os.Mkdir(shared, 0o755), os.Chmod(shared, 0o755))
}

// own gives a folder to git in the box.
func (b *Box) own(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	return os.Lchown(dir, b.UID, b.GID)
}

// readable checks that the owner of a task may read a local repository: this
// process may be root, and must not read for others what they can't.
func (s *Store) readable(ctx context.Context, r *request, addr address) error {
	if rel, err := filepath.Rel(s.state, addr.url); err == nil && filepath.IsLocal(rel) {
		return errors.New("the repository is inside the agent's own folder")
	}
	if r.uid < 0 {
		return nil
	}
	_, err := s.git.run(ctx, call{what: "ls-remote", dir: "/", args: []string{"ls-remote", "--quiet", "--heads", "--", addr.url}, file: true, asUID: r.uid})
	if err != nil {
		return fmt.Errorf("the user with id %d, who runs the task, can't read it: %w", r.uid, err)
	}
	return nil
}

func (m *mirror) git(ctx context.Context, what string, args ...string) (string, error) {
	c := m.call(what, args...)
	c.hold, c.login, c.file = m.lock.File(), &login{m.addr.origin, m.addr.login}, m.addr.local()
	c.say = func(line string) { m.r.say("git", line) }
	return m.store.git.run(ctx, c)
}

// call is a run of git on the mirror.
func (m *mirror) call(what string, args ...string) call {
	c := call{what: what, dir: m.dir, args: append([]string{"--git-dir=" + m.repo()}, args...), box: m.box}
	if m.box != nil {
		c.dir, c.writes = m.shared(), []string{m.shared()}
	}
	return c
}

// repair makes sure that there is a sound repository. What a killed git left, lock
// files and parts of packs, is removed; if the rest does not hold together, the
// mirror starts anew.
func (m *mirror) repair(ctx context.Context) error {
	if err := m.sweepPlaces(); err != nil {
		return err
	}
	if _, err := os.Stat(m.busy()); err == nil {
		m.store.log.Info("repairing a mirror after an unfinished fetch", "url", m.addr.url)
		if err := m.sweep(); err != nil {
			return err
		}
		if _, err := m.git(ctx, "fsck", "fsck", "--connectivity-only", "--no-dangling", "--no-progress"); err != nil {
			if ctx.Err() != nil {
				return err
			}
			return m.renew(ctx)
		}
	}
	if _, err := os.Stat(filepath.Join(m.repo(), "HEAD")); err != nil {
		return m.renew(ctx)
	}
	return nil
}

// renew starts the mirror anew, with nothing in it.
func (m *mirror) renew(ctx context.Context) error {
	if err := fsx.WriteFile(m.busy(), nil, 0o600); err != nil {
		return err
	}
	if err := tree.Remove(m.repo()); err != nil {
		return err
	}
	if m.box != nil {
		if err := errors.Join(os.Mkdir(m.repo(), 0o755), m.box.own(m.repo())); err != nil {
			return err
		}
	}
	// Shared: checkouts of other users have hard links to these objects.
	if _, err := m.git(ctx, "init", "init", "--quiet", "--bare", "--template=", "--shared=0644", "--", m.repo()); err != nil {
		return err
	}
	crash.Point("mirror.initialized")
	return os.Remove(m.busy())
}

// sweep removes the lock files and temporary files of a dead git. The lock of
// the mirror is held, so no living one has any.
func (m *mirror) sweep() error {
	err := tree.Walk(m.repo(), func(n tree.Node) error {
		name := n.Name
		if n.Info.Mode().IsRegular() && (strings.HasSuffix(name, ".lock") || strings.HasPrefix(name, "tmp_")) {
			return n.Dir.Remove(name)
		}
		return nil
	}, nil)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// everything are the refspecs of all branches and tags.
func everything() []string {
	return []string{"+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"}
}

// fetch brings all branches and tags, or what refspecs say, into the mirror. A
// mirror that turns out to be damaged starts anew.
func (m *mirror) fetch(ctx context.Context, refspecs ...string) error {
	if m.r.src.Offline {
		return nil
	}
	if len(refspecs) == 0 {
		refspecs = everything()
	}
	err := m.fetchOnce(ctx, refspecs)
	var failed *GitError
	if errors.As(err, &failed) && brokenObjects(failed) && ctx.Err() == nil {
		m.store.log.Warn("making a mirror anew that can't be fetched into", "url", m.addr.url, "err", err)
		if err = m.renew(ctx); err == nil {
			err = m.fetchOnce(ctx, refspecs)
		}
	}
	return err
}

func (m *mirror) fetchOnce(ctx context.Context, refspecs []string) error {
	if err := fsx.WriteFile(m.busy(), nil, 0o600); err != nil {
		return err
	}
	crash.Point("mirror.fetching")
	args := []string{"fetch", "--progress", "--no-write-fetch-head", "--no-auto-maintenance", "--no-tags", "--force"}
	if len(refspecs) > 1 {
		args = append(args, "--prune")
	}
	_, err := m.git(ctx, "fetch", append(append(args, "--", m.addr.url), refspecs...)...)
	crash.Point("mirror.fetched")
	if err != nil && ctx.Err() != nil {
		return err // it may have been killed: the marker stays
	}
	if rerr := os.Remove(m.busy()); err == nil {
		err = rerr
	}
	return err
}

// commit finds the full id of a revision in the mirror; "" if it is not there.
func (m *mirror) commit(ctx context.Context, rev string) (string, error) {
	out, err := m.store.git.run(ctx, m.call("rev-parse", "rev-parse", "--quiet", "--verify", rev+"^{commit}"))
	var failed *GitError
	if errors.As(err, &failed) && failed.Err == nil && failed.Exit.Signal == "" {
		return "", nil
	}
	return out, err
}

// mostPacks is the number of packs from which a mirror is packed anew: every
// fetch adds one, and each slows the search for an object.
const mostPacks = 30

// tidy packs the mirror anew when it fell apart into many packs.
func (m *mirror) tidy(ctx context.Context) {
	packs, err := filepath.Glob(filepath.Join(m.repo(), "objects", "pack", "*.pack"))
	if err != nil || len(packs) < mostPacks {
		return
	}
	if _, err := m.git(ctx, "gc", "gc", "--quiet", "--prune=2.weeks.ago"); err != nil {
		m.store.log.Warn("cannot tidy a mirror", "url", m.addr.url, "err", err)
	}
}

// share turns the lock into a shared one, for reading.
func (m *mirror) share() error { return m.lock.Downgrade() }

func idsOf(info fs.FileInfo) (int, int) {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(st.Uid), int(st.Gid)
	}
	return -1, -1
}
