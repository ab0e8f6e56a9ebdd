package repo

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"agentctl/internal/shelf"
	"agentctl/internal/tree"
)

// placePrefix begins the names of checkouts that are being made beside the mirror that
// their objects are links to: one mount, and one box, for both.
const placePrefix = "new-"

// place is where git in a box makes a checkout.
type place struct {
	shared, path string
	held         *shelf.Lease[mirrorRecord]
	lock         *os.File // of the folder itself: who holds it is at work there
}

// place makes the place for the checkout of a request.
func (s *Store) place(ctx context.Context, r *request) (*place, error) {
	m, err := s.mirror(ctx, r, r.addr)
	if err != nil {
		return nil, err
	}
	defer m.close() // until then nobody sweeps
	p := &place{shared: m.shared()}
	if p.held, err = s.mirrors.Peek(m.key()); err != nil {
		return nil, err
	}
	if p.path, err = os.MkdirTemp(p.shared, placePrefix); err == nil {
		err = r.box.own(p.path)
	}
	if err == nil {
		p.lock, err = lockFolder(p.path)
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// close removes what was not published.
func (p *place) close() {
	if p.path != "" {
		_ = tree.Remove(p.path) // else the next one's sweep does it
	}
	if p.lock != nil {
		_ = p.lock.Close()
	}
	_ = p.held.Close()
}

func lockFolder(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// sweepPlaces removes the checkouts that dead processes did not finish. The lock of
// the mirror is held.
func (m *mirror) sweepPlaces() error {
	if m.box == nil {
		return nil
	}
	files, err := os.ReadDir(m.shared())
	if err != nil {
		return err
	}
	for _, f := range files {
		if !strings.HasPrefix(f.Name(), placePrefix) {
			continue
		}
		path := filepath.Join(m.shared(), f.Name())
		lock, err := lockFolder(path)
		if err != nil {
			continue // somebody is at work, or it is no folder
		}
		err = tree.Remove(path)
		_ = lock.Close()
		if err != nil {
			return err
		}
	}
	return nil
}
