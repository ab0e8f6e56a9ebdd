package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"agentctl/internal/crash"
	"agentctl/internal/fsx"
	"agentctl/internal/shelf"
	"agentctl/internal/tree"
)

// Addition asks for a layer that is made on this host, on top of those of an image.
type Addition struct {
	// Digest is that of the image's manifest; What tells what is added to it.
	Digest, What string
	// Base and Size are the range of ids whose users make it.
	Base, Size int
	// Make has a sandbox of the image leave what it writes in dir/upper, as overlayfs does.
	// What may outlive this process holds lock: it keeps others from making the same.
	Make func(ctx context.Context, dir string, lock *os.File) error
	// Waiting is called once if another one is at it.
	Waiting func()
}

// Added is a hold on such a layer. It goes on top of the image's layers.
type Added struct {
	Folder string
	Bytes  int64
	Hit    bool
	held   *shelf.Lease[addedRecord]
}

type addedRecord struct {
	Digest string `json:"digest"`
	What   string `json:"what"`
}

// File holds the lease, for a child that outlives this process.
func (a *Added) File() *os.File { return a.held.File() }

// Close gives this hold back.
func (a *Added) Close() error { return a.held.Close() }

func (s *Store) addedKey(rec addedRecord) string {
	return hashOf("added", s.way(), rec.Digest, rec.What)
}

// Add leases a layer that was added to an image, made first if need be. It is kept as
// long as its image is, and made anew for another digest only.
func (s *Store) Add(ctx context.Context, a Addition) (*Added, error) {
	if s.delegates() || os.Geteuid() != 0 {
		return nil, errors.New("cannot add to an image: the agent is not root")
	}
	rec := addedRecord{a.Digest, a.What}
	held, err := s.added.Get(ctx, s.addedKey(rec), a.Waiting, func(ctx context.Context, m shelf.Making) (addedRecord, int64, error) {
		bytes, err := s.make(ctx, a, m)
		return rec, bytes, err
	})
	if err != nil {
		return nil, fmt.Errorf("cannot add to the image %s: %w", short(a.Digest), err)
	}
	return &Added{Folder: filepath.Join(held.Path, "fs"), Bytes: held.Bytes, Hit: held.Hit, held: held}, nil
}

func (s *Store) make(ctx context.Context, a Addition, m shelf.Making) (int64, error) {
	if err := os.Mkdir(m.Path, 0o700); err != nil {
		return 0, err
	}
	if err := a.Make(ctx, m.Path, m.Lock); err != nil {
		return 0, err
	}
	crash.Point("added.filled")
	layer := filepath.Join(m.Path, "fs")
	err := errors.Join(tree.Remove(filepath.Join(m.Path, "work")), os.Rename(filepath.Join(m.Path, "upper"), layer))
	if err != nil {
		return 0, err
	}
	var bytes int64
	err = tree.Walk(layer, func(n tree.Node) error {
		if n.Info.Mode().IsRegular() {
			bytes += n.Info.Size()
		}
		if s.opts.Shift != 0 { // kept as it is shown
			return nil
		}
		return a.unshift(n)
	}, nil)
	return bytes, err
}

// unshift gives a file to whom it belongs inside, as the files of all layers that are
// mapped while they are mounted.
func (a Addition) unshift(n tree.Node) error {
	st, ok := n.Info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	uid, gid := a.inside(st.Uid), a.inside(st.Gid)
	if uid == int(st.Uid) && gid == int(st.Gid) {
		return nil
	}
	if err := n.Dir.Lchown(n.Name, uid, gid); err != nil {
		return err
	}
	const special = os.ModeSetuid | os.ModeSetgid
	if n.Info.Mode()&special == 0 || n.Info.Mode().Type()&os.ModeSymlink != 0 {
		return nil
	}
	return n.Dir.Chmod(n.Name, n.Info.Mode()) // a new owner has taken them away
}

func (a Addition) inside(id uint32) int {
	if n := int(id) - a.Base; n >= 0 && n < a.Size {
		return n
	}
	return int(id)
}

// collectAdded removes the layers whose image is not kept any more, and those that
// nobody used for long.
func (s *Store) collectAdded(keep Keep) error {
	all, err := s.added.Entries()
	if err != nil {
		return err
	}
	var failed error
	for _, e := range all {
		stale := e.Key != s.addedKey(e.Entry) || !s.images.Stands(s.imageKey(e.Entry.Digest))
		old := keep.Age > 0 && s.opts.Now().Sub(e.Used) > keep.Age
		if e.InUse || !stale && !old {
			continue
		}
		if err := s.added.Remove(e.Key); err != nil && !errors.Is(err, fsx.ErrLocked) {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}
