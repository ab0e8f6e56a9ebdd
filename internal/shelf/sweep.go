package shelf

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"agentctl/internal/fsx"
)

// escape makes a path safe as the fixed part of a glob pattern.
func escape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// Sweep finishes or undoes what dead processes left: half-made entries, half
// removals, scratch, trash. What a living process works on is left alone,
// since its lock is held.
func (s *Shelf[R]) Sweep() error { return s.sweep(func(string) bool { return true }) }

// sweep is Sweep of the keys that want names.
func (s *Shelf[R]) sweep(want func(key string) bool) error {
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("cannot sweep %s: %w", s.dir, err)
	}
	keys := map[string]bool{}
	for _, f := range files {
		name := f.Name()
		if strings.HasPrefix(name, ".") && strings.Contains(name, ".tmp-") {
			err = errors.Join(err, s.staleTemp(name))
			continue
		}
		name = strings.TrimPrefix(strings.TrimPrefix(name, workPrefix), trashPrefix)
		if len(name) >= 32 && keyShape.MatchString(name[:32]) {
			keys[name[:32]] = true
		}
	}
	for key := range keys {
		if want(key) {
			err = errors.Join(err, s.repair(key))
		}
	}
	return err
}

// repair clears one key, if nobody is at work on it, and removes a lock file
// that is alone.
func (s *Shelf[R]) repair(key string) error {
	if _, err := s.whole(key); err == nil || errors.Is(err, ErrDoubt) {
		// Scratch of a builder that died when it was done. A shared lock is
		// enough to know that none is at work, and gets along with leases.
		l, err := s.lock(key, fsx.TryLockShared)
		if err != nil {
			return nil // somebody is at work
		}
		defer func() { _ = l.Unlock() }()
		return s.clearScratch(key)
	}
	l, err := s.lock(key, fsx.TryLock)
	if errors.Is(err, fsx.ErrLocked) {
		return nil // a living builder, or an entry that is dirty and still in use
	}
	if err != nil {
		return err
	}
	defer s.release(key, l)
	if _, err := s.whole(key); err == nil || errors.Is(err, ErrDoubt) {
		return nil
	}
	if exists(s.Path(key)) {
		s.log.Info("removing what a dead process left", "path", s.Path(key))
	}
	return s.clear(key)
}

// staleTemp removes the temporary file of an atomic write. A living writer needs
// it for milliseconds only, and its name tells which lock he holds.
func (s *Shelf[R]) staleTemp(name string) error {
	file, _, _ := strings.Cut(strings.TrimPrefix(name, "."), ".tmp-")
	key, suffix := file, ""
	if i := strings.LastIndexByte(file, '.'); i >= 0 {
		key, suffix = file[:i], file[i:]
	}
	if keyShape.MatchString(key) && slices.Contains(s.files(), suffix) {
		l, err := s.lock(key, fsx.TryLock)
		if err != nil {
			return nil // in use: its owner removes it
		}
		defer s.release(key, l)
		return drop(s.at(name, ""))
	}
	l, err := fsx.TryLock(s.at("", guardFile))
	if err != nil {
		return nil // in use: its owner removes it
	}
	defer func() { _ = l.Unlock() }()
	return drop(s.at(name, ""))
}
