package envcache

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/samber/lo"

	"agentctl/internal/tree"
)

// coverSuffix is added to the name of a build's scratch folder for what its programs
// write to the downloads: whatever sweeps the one sweeps the other.
const coverSuffix = "-cache"

// cover shows a build in a sandbox the downloads of its user, and keeps what it writes
// there apart: the code of one task's package must not choose what another one's pip
// finds. host tells the client on the host from the programs in an image.
func (s *site) cover(host bool) (Cover, error) {
	for _, manager := range lo.Uniq([]string{s.req.Manager, ManagerPip}) {
		if _, err := s.downloads(manager); err != nil {
			return Cover{}, err
		}
	}
	c := Cover{filepath.Join(filepath.Dir(filepath.Dir(s.path)), "cache"), s.work + coverSuffix}
	if host {
		c.Upper += "-host"
	}
	err := os.Mkdir(c.Upper, 0o700)
	if errors.Is(err, fs.ErrExist) {
		err = nil
	}
	return c, err
}

// keepDownloads has the downloads of a build for all later ones, if no code of a
// package could write among them.
func (a *acquisition) keepDownloads(s *site, settling *settling, failed error) {
	if !s.req.enclosed() {
		return
	}
	// conda's own are kept as soon as they are linked; after that its pip runs on a Python
	// that a package brought.
	if s.req.Manager != ManagerConda && !settling.foreign.Load() && !settling.unsure.Load() {
		s.merge(false)
	}
	for _, suffix := range []string{coverSuffix, coverSuffix + "-host"} {
		if err := tree.Remove(s.work + suffix); err != nil && failed == nil {
			s.say(s.req.Manager, "its downloads are left in "+s.work+suffix+": "+err.Error())
		}
	}
}

// merge moves what was written to a cover into the downloads. It is no failure of a
// build that it can't.
func (s *site) merge(host bool) {
	if !s.req.enclosed() {
		return
	}
	c, err := s.cover(host)
	for _, manager := range lo.Uniq([]string{s.req.Manager, ManagerPip}) {
		name := manager + "-" + strconv.Itoa(s.uid)
		from := filepath.Join(c.Upper, "upper", name)
		if err == nil && isDir(from) {
			err = moveInto(from, filepath.Join(c.Folder, name))
		}
	}
	if err != nil {
		s.say(s.req.Manager, "not all downloads are kept: "+err.Error())
	}
}

// moveInto moves all of one folder into another, whole folders where there is none of
// the name. No program runs that could write to either.
func moveInto(from, to string) error {
	return tree.Walk(from, func(n tree.Node) error {
		target := filepath.Join(to, filepath.FromSlash(n.Rel))
		old, err := os.Lstat(target)
		switch mode := n.Info.Mode(); {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		case mode.IsDir() && err == nil && old.IsDir():
			return nil
		case mode.IsDir() && err == nil, mode&fs.ModeDevice != 0: // a file is in its place; it was removed
			return skip(mode)
		}
		if err := os.Rename(filepath.Join(from, filepath.FromSlash(n.Rel)), target); err != nil {
			return err
		}
		return skip(n.Info.Mode())
	}, nil)
}

func skip(mode fs.FileMode) error {
	if mode.IsDir() {
		return tree.SkipDir
	}
	return nil
}
