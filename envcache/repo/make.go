package repo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"agentctl/internal/crash"
	"agentctl/internal/shelf"
	"agentctl/internal/tree"
)

// maker makes one checkout.
type maker struct {
	store    *Store
	r        *request
	lock     *os.File
	top      string // the checkout
	seen     int    // submodules so far, at any depth
	warnings []string
	box      *Box   // nil: on the host
	shared   string // what the box shows: the checkout is in it
}

const (
	mostModules    = 500
	deepestModules = 10
)

// make makes the checkout of a commit.
func (s *Store) make(ctx context.Context, r *request, commit string, m shelf.Making) (checkoutRecord, int64, error) {
	mk := &maker{store: s, r: r, lock: m.Lock, top: m.Path}
	if r.box != nil {
		place, err := s.place(ctx, r)
		if err != nil {
			return checkoutRecord{}, 0, err
		}
		defer place.close()
		mk.box, mk.shared, mk.top = r.box, place.shared, place.path
	}
	if err := mk.tree(ctx, r.addr, commit, mk.top, 0); err != nil {
		return checkoutRecord{}, 0, err
	}
	crash.Point("checkout.tree")
	if r.src.Diff != "" {
		if err := mk.apply(ctx, r.src.Diff); err != nil {
			return checkoutRecord{}, 0, err
		}
		r.say("repository", "applied the uncommitted changes")
		crash.Point("checkout.patched")
	}
	bytes, err := mk.publish(ctx, m.Path)
	if err != nil {
		return checkoutRecord{}, 0, err
	}
	return checkoutRecord{r.addr.url, commit, mk.warnings}, bytes, nil
}

// publish gives the checkout to its owner, at the path where it stays.
func (mk *maker) publish(ctx context.Context, path string) (int64, error) {
	if mk.box != nil {
		if err := mk.box.End(); err != nil {
			return 0, err
		}
	}
	bytes, err := measure(mk.top)
	if err != nil {
		return 0, err
	}
	give := mk.store.give
	if mk.r.uid < 0 || give == nil {
		give = func(_ context.Context, top string, uid, gid int) error { return tree.Publish(top, uid, gid) }
	}
	if err := give(ctx, mk.top, mk.r.uid, mk.r.gid); err != nil || mk.top == path {
		return bytes, err
	}
	return bytes, os.Rename(mk.top, path)
}

func measure(top string) (n int64, err error) {
	err = tree.Walk(top, func(node tree.Node) error {
		if node.Info.Mode().IsRegular() && !tree.Shared(node.Info) {
			n += node.Info.Size()
		}
		return nil
	}, nil)
	return n, err
}

// git runs git in a folder of the checkout.
func (mk *maker) git(ctx context.Context, dir, what string, more call, args ...string) (string, error) {
	more.what, more.dir, more.args, more.hold = what, dir, append([]string{"-C", dir}, args...), mk.lock
	more.dir = mk.top
	if _, err := os.Stat(mk.top); err != nil {
		more.dir = "/"
	}
	if more.box = mk.box; mk.box != nil {
		more.writes = append([]string{mk.shared}, more.writes...)
	}
	return mk.store.git.run(ctx, more)
}

// tree makes the working tree of one repository in dir, submodules included. A
// mirror that turns out to be damaged is made anew, once.
func (mk *maker) tree(ctx context.Context, addr address, commit, dir string, depth int) error {
	err := mk.clone(ctx, addr, commit, dir)
	var failed *GitError
	if errors.As(err, &failed) && failed.What == "clone" && ctx.Err() == nil {
		mk.store.log.Warn("making a mirror anew that can't be cloned", "url", addr.url, "err", err)
		if err = mk.renew(ctx, addr, dir); err == nil {
			err = mk.clone(ctx, addr, commit, dir)
		}
	}
	if err != nil {
		return err
	}
	if err := mk.lfs(ctx, addr, dir); err != nil {
		return err
	}
	return mk.submodules(ctx, addr, commit, dir, depth)
}

func (mk *maker) renew(ctx context.Context, addr address, dir string) error {
	m, err := mk.store.mirror(ctx, mk.r, addr)
	if err != nil {
		return err
	}
	defer m.close()
	return errors.Join(m.renew(ctx), tree.Remove(dir))
}

// clone makes the working tree of one repository. Its .git needs no other
// folder, names the remote without credentials, and tells git to compare files
// by size and time alone: owner and inode change on the way to a task.
func (mk *maker) clone(ctx context.Context, addr address, commit, dir string) error {
	m, err := mk.store.holding(ctx, mk.r, addr, commit)
	if err != nil {
		return err
	}
	defer m.close()
	more, links := call{file: true}, "--local"
	if mk.box != nil && m.shared() != mk.shared { // between two mounts there are no links
		more.reads, links = []string{m.repo()}, "--no-hardlinks"
	}
	_, err = mk.git(ctx, "/", "clone", more, "clone", "--quiet", links, "--no-checkout", "--template=",
		"--config", "core.checkStat=minimal", "--config", "core.trustctime=false", "--", m.repo(), dir)
	if err != nil {
		return err
	}
	crash.Point("checkout.cloned")
	_, err = mk.git(ctx, dir, "checkout", call{}, "checkout", "--quiet", "--force", "--detach", commit)
	if err != nil {
		var failed *GitError
		if errors.As(err, &failed) && brokenObjects(failed) {
			failed.What = "clone" // the mirror is to blame
		}
		return err
	}
	_, err = mk.git(ctx, dir, "config", call{}, "config", "remote.origin.url", addr.url)
	return err
}

// brokenObjects tells whether git complains about what a mirror should hold.
// What the remote says of itself is no reason to throw a mirror away.
func brokenObjects(e *GitError) bool {
	text := strings.Join(slices.DeleteFunc(slices.Clone(e.Lines), func(l string) bool { return strings.HasPrefix(l, "remote:") }), "\n")
	for _, s := range []string{
		"unable to read", "missing blob", "missing tree", "corrupt", "bad object", "inflate", "is too small", "necessary objects",
		"not a git repository: ", "bad signature", "garbage at end", "is empty",
	} {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}

// pointer is how a file begins whose content Git LFS keeps elsewhere.
const pointer = "version https://git-lfs.github.com/spec/"

// lfs replaces the pointers of Git LFS by their files, if the program for it is
// installed; else it warns: a pointer in the place of a model or a data set
// breaks a task in ways that nobody understands.
func (mk *maker) lfs(ctx context.Context, addr address, dir string) error {
	files, err := pointers(dir)
	if err != nil || len(files) == 0 {
		return err
	}
	if mk.r.src.Offline {
		mk.warnings = append(mk.warnings, fmt.Sprintf("%d files are kept in Git LFS and are pointers only, as %s: nothing is fetched", len(files), files[0]))
		return nil
	}
	if !mk.store.git.has("git-lfs") {
		mk.warnings = append(mk.warnings, fmt.Sprintf("%d files are kept in Git LFS and are pointers only, as %s: git-lfs is not installed on this host (on Debian: apt-get install git-lfs)", len(files), files[0]))
		return nil
	}
	mk.r.say("repository", fmt.Sprintf("getting %d files of Git LFS", len(files)))
	more := call{login: &login{addr.origin, addr.login}, file: addr.local(), say: func(line string) { mk.r.say("git", line) }}
	if _, err := mk.git(ctx, dir, "lfs install", call{}, "lfs", "install", "--local", "--skip-smudge", "--skip-repo"); err != nil {
		return err
	}
	_, err = mk.git(ctx, dir, "lfs pull", more, "lfs", "pull", "origin")
	return err
}

// pointers lists the LFS pointers of a working tree.
func pointers(dir string) ([]string, error) {
	var found []string
	err := tree.Walk(dir, func(n tree.Node) error {
		if n.Info.IsDir() && n.Name == ".git" {
			return tree.SkipDir
		}
		if size := n.Info.Size(); !n.Info.Mode().IsRegular() || size < 100 || size > 1024 {
			return nil
		}
		f, err := n.Open()
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		head := make([]byte, len(pointer))
		if _, err := f.Read(head); err == nil && string(head) == pointer {
			found = append(found, n.Rel)
		}
		return nil
	}, nil)
	return found, err
}

// has tells whether a program is in git's PATH.
func (g *git) has(name string) bool {
	for _, kv := range g.env {
		if path, ok := strings.CutPrefix(kv, "PATH="); ok {
			for dir := range strings.SplitSeq(path, ":") {
				if p, err := exec.LookPath(dir + "/" + name); err == nil && p != "" {
					return true
				}
			}
		}
	}
	return false
}
