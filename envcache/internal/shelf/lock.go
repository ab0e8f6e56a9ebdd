package shelf

import (
	"os"
	"time"

	"agentctl/internal/fsx"
)

// touched is how often a last use is written down. More often would cost a
// write per hit for an order that nobody needs that exactly.
const touched = 10 * time.Minute

type taker func(path string) (*fsx.Lock, error)

// lock takes the lock of a key. A lock file is removed with its entry, so what
// was locked may be a file without a name: then it locks nothing, and the lock
// is taken again.
func (s *Shelf[R]) lock(key string, take taker) (*fsx.Lock, error) {
	path := s.at(key, lockSuffix)
	for {
		l, err := take(path)
		if err != nil {
			return nil, err
		}
		if named(l.File(), path) {
			return l, nil
		}
		_ = l.Close()
	}
}

// named tells whether path still is the name of f.
func named(f *os.File, path string) bool {
	held, err := f.Stat()
	if err != nil {
		return false
	}
	now, err := os.Stat(path)
	return err == nil && os.SameFile(held, now)
}

// release gives up an exclusive lock, and removes the lock file if there is no
// entry that it could protect.
func (s *Shelf[R]) release(key string, l *fsx.Lock) {
	if !exists(s.Path(key)) && !exists(s.at(key, partialSuffix)) {
		_ = drop(s.at(key, lockSuffix))
	}
	_ = l.Close()
}

// touch writes down a use of the entry, in the time of change of its lock file.
func (s *Shelf[R]) touch(key string, now time.Time) {
	path := s.at(key, lockSuffix)
	if info, err := os.Stat(path); err == nil && now.Sub(info.ModTime()) > touched {
		_ = os.Chtimes(path, now, now)
	}
}
