package shelf

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"agentctl/internal/fsx"
)

// ErrDoubt means that the entry is to be examined before it is leased.
var ErrDoubt = errors.New("the entry has to be examined first")

// ErrGone means that an entry is not in doubt, or not there any more.
var ErrGone = errors.New("the entry is not there, or not in doubt")

// doubtSuffix is what the record of an entry in doubt is called: to rename it
// needs no room on the disk, and a hit does not look for it.
const doubtSuffix = ".doubt"

// DoubtAll puts every whole entry in doubt. Nobody else may use the shelf
// meanwhile.
func (s *Shelf[R]) DoubtAll() error {
	records, err := filepath.Glob(filepath.Join(escape(s.dir), "*"+recordSuffix))
	if err != nil {
		return err
	}
	for _, r := range records {
		key := strings.TrimSuffix(filepath.Base(r), recordSuffix)
		if !keyShape.MatchString(key) {
			continue
		}
		if err := os.Rename(r, s.at(key, doubtSuffix)); err != nil {
			return fmt.Errorf("cannot put entries in doubt: %w", err)
		}
		s.point("doubted")
	}
	return fsx.SyncDir(s.dir)
}

// doubtful tells that only an examination keeps the entry from being leased.
func (s *Shelf[R]) doubtful(key string) bool {
	_, err := s.stands(key, doubtSuffix)
	return err == nil
}

// Doubtful lists the keys of the entries in doubt, the last used first.
func (s *Shelf[R]) Doubtful() ([]string, error) {
	files, err := filepath.Glob(filepath.Join(escape(s.dir), "*"+doubtSuffix))
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, f := range files {
		if key := strings.TrimSuffix(filepath.Base(f), doubtSuffix); keyShape.MatchString(key) && s.doubtful(key) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b string) int {
		return cmp.Or(s.used(b, time.Time{}).Compare(s.used(a, time.Time{})), strings.Compare(a, b))
	})
	return keys, nil
}

// Examine leases an entry in doubt for who examines it; it fails with ErrGone if
// that is not to be done any more.
func (s *Shelf[R]) Examine(key string) (*Lease[R], error) {
	if !keyShape.MatchString(key) {
		return nil, fmt.Errorf("%q is no key", key)
	}
	if !s.doubtful(key) {
		return nil, ErrGone
	}
	l, err := s.shared(key)
	if errors.Is(err, fsx.ErrLocked) && !s.doubtful(key) {
		return nil, ErrGone // it is being removed
	}
	if err != nil {
		return nil, err
	}
	rec, err := s.stands(key, doubtSuffix)
	if err != nil {
		_ = l.Unlock()
		s.tidy(key)
		return nil, ErrGone
	}
	return &Lease[R]{key, s.Path(key), rec.Created, rec.Bytes, rec.Entry, true, l}, nil
}

// Trust takes the doubt away from an entry. The caller holds a lease of it.
func (s *Shelf[R]) Trust(l *Lease[R]) error {
	err := os.Rename(s.at(l.Key, doubtSuffix), s.at(l.Key, recordSuffix))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // another one was as fast
	}
	if err != nil {
		return fmt.Errorf("cannot clear an entry of doubt: %w", err)
	}
	s.point("trusted")
	return fsx.SyncDir(s.dir)
}
