package image

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"agentctl/internal/crash"
	"agentctl/internal/fsx"
)

// flusher brings to the disk what was pulled, without holding up who pulls.
type flusher struct {
	mu      sync.Mutex
	waiting []string // keys of images
	running sync.WaitGroup
	active  bool
	failed  error
}

func (f *flusher) wait() error {
	f.running.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

// flushLater sees to it that an image, and its layers, come to the disk.
func (s *Store) flushLater(key string) {
	f := &s.flusher
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting = append(f.waiting, key)
	if !f.active {
		f.active = true
		f.running.Go(s.flush)
	}
}

func (s *Store) flush() {
	f := &s.flusher
	for {
		f.mu.Lock()
		keys := f.waiting
		f.waiting = nil
		if len(keys) == 0 {
			f.active = false
			f.mu.Unlock()
			return
		}
		f.mu.Unlock()
		err := s.synced(keys)
		f.mu.Lock()
		f.failed = errors.Join(f.failed, err)
		f.mu.Unlock()
	}
}

// synced brings all to the disk and marks the images that are there then.
func (s *Store) synced(keys []string) error {
	if err := fsx.SyncAll(s.dir); err != nil {
		return fmt.Errorf("cannot bring images to the disk: %w", err)
	}
	var failed error
	for _, key := range keys {
		l, err := s.images.Peek(key) // under its lock nobody removes it
		if err != nil {
			continue
		}
		mark, err := os.OpenFile(s.images.Path(key)+syncedSuffix, os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			err = mark.Close()
		}
		failed = errors.Join(failed, err, l.Unlock())
	}
	crash.Point("image.flushed")
	return failed
}
