package image

import (
	"errors"
	"fmt"
	"os"

	"agentctl/internal/crash"
	"agentctl/internal/fsx"
)

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
