package shelf

import (
	"context"
	"errors"
	"os"
	"time"

	"agentctl/internal/fsx"
)

// touched is how often a last use is written down. More often would cost a
// write per hit for an order that nobody needs that exactly.
const touched = 10 * time.Minute

// moment bounds the wait for a lock whose holder only looks at the entry, or is
// just done with making it.
const moment = 256 * time.Millisecond

type taker func(path string) (*fsx.Lock, error)

// lock takes the lock of a key, whose file goes with the entry.
func (s *Shelf[R]) lock(key string, take taker) (*fsx.Lock, error) {
	return fsx.Passing(s.at(key, lockSuffix), take)
}

// shared takes the shared lock of a key. Whoever holds the lock of a whole entry
// alone does so for a moment: to answer with a miss would cost a build.
func (s *Shelf[R]) shared(key string) (*fsx.Lock, error) {
	for pause := time.Millisecond; ; pause *= 2 {
		l, err := s.lock(key, fsx.TryLockShared)
		if !errors.Is(err, fsx.ErrLocked) || pause > moment {
			return l, err
		}
		if _, werr := s.whole(key); werr != nil && !errors.Is(werr, ErrDoubt) {
			return nil, err
		}
		time.Sleep(pause)
	}
}

// Guard takes the lock of those files of the folder that belong to no entry and
// that the caller keeps there.
func (s *Shelf[R]) Guard(ctx context.Context) (*fsx.Lock, error) {
	return fsx.WaitLock(ctx, s.at("", guardFile))
}

// Stands tells that the entry is there, or that somebody is at work on it.
func (s *Shelf[R]) Stands(key string) bool {
	if !keyShape.MatchString(key) {
		return false
	}
	if _, err := s.whole(key); err == nil || s.doubtful(key) {
		return true
	}
	l, err := s.lock(key, fsx.TryLock)
	if err != nil {
		return true
	}
	defer s.release(key, l)
	_, err = s.whole(key)
	return err == nil || s.doubtful(key)
}

// release gives up an exclusive lock, and removes the lock file if there is no
// entry that it could protect.
func (s *Shelf[R]) release(key string, l *fsx.Lock) {
	s.forget(key)
	_ = l.Unlock()
}

// forget removes the lock file of a key without an entry; the caller holds the lock.
func (s *Shelf[R]) forget(key string) {
	if !exists(s.Path(key)) && !exists(s.at(key, partialSuffix)) {
		_ = drop(s.at(key, lockSuffix))
	}
}

// tidy removes a lock file that was made for an entry which vanished just then.
func (s *Shelf[R]) tidy(key string) {
	if exists(s.Path(key)) {
		return
	}
	if l, err := s.lock(key, fsx.TryLock); err == nil {
		s.release(key, l)
	}
}

// touch writes down a use of the entry, in the time of change of its lock file.
func (s *Shelf[R]) touch(key string, now time.Time) {
	path := s.at(key, lockSuffix)
	if info, err := os.Stat(path); err == nil && now.Sub(info.ModTime()) > touched {
		_ = os.Chtimes(path, now, now)
	}
}
