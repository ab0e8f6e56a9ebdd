package mounts

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// piece is a mount and its place.
type piece struct {
	target   string
	fd       int // the mount, -1 for a cover
	dir      bool
	cover    bool // an empty folder
	optional bool // to be left out where it changes nothing
	readOnly bool
}

func (p piece) close() {
	if p.fd >= 0 {
		_ = unix.Close(p.fd)
	}
}

// place attaches the pieces, those further up first, and makes the covers
// read-only when all their mount points are made.
func place(k kernel, pieces []piece) error {
	pieces = slices.Clone(pieces)
	slices.SortStableFunc(pieces, func(a, b piece) int { return strings.Compare(a.target, b.target) })
	var covers []string
	for i, p := range pieces {
		covered := inCover(pieces[:i], p.target)
		var err error
		switch {
		case p.cover:
			if err = k.cover(p.target); errors.Is(err, fs.ErrNotExist) {
				continue
			}
			covers = append(covers, p.target)
		case p.optional && !covered:
			continue
		default:
			err = attach(k, p, covered)
		}
		if err != nil {
			return fmt.Errorf("cannot show %s to the task: %w", p.target, err)
		}
	}
	for _, path := range slices.Backward(covers) {
		if err := k.protect(path, false); err != nil {
			return fmt.Errorf("cannot make the cover of %s read-only: %w", path, err)
		}
	}
	return nil
}

// inCover tells whether the innermost of the placed pieces around path is a cover.
func inCover(placed []piece, path string) bool {
	for _, p := range slices.Backward(placed) {
		if below(path, p.target) {
			return p.cover
		}
	}
	return false
}

// attach mounts p, making its mount point where a cover took it away.
func attach(k kernel, p piece, covered bool) error {
	if covered {
		if err := mountPoint(p); err != nil {
			return err
		}
	}
	if err := k.attach(p); err != nil {
		return err
	}
	if p.readOnly {
		return k.protect(p.target, true)
	}
	return nil
}

func mountPoint(p piece) error {
	if p.dir {
		return os.MkdirAll(p.target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(p.target), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(p.target, os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// below tells whether path lies below dir; both are clean.
func below(path, dir string) bool { return strings.HasPrefix(path, dir+"/") }
