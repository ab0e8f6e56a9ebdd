package runtime

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"agentctl/internal/fsx"
	"agentctl/runtime/internal/contain"
	"agentctl/runtime/internal/record"
)

// attachPatience bounds how long a shim that holds the lock may take to record
// its handle, and one that recorded it to vanish.
const attachPatience = 30 * time.Second

// Attach finds the run in dir, whoever started it: a living one to be watched
// and stopped, an ended one with its Exit, or a lost one, whose leftovers are
// ended and whose loss is recorded by the Task's goroutine. It fails with
// ErrNoRun when no task was ever started there.
func Attach(dir string) (*Task, error) {
	t, err := attach(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot attach to the run in %s: %w", dir, err)
	}
	return t, nil
}

// Lives tells whether a shim holds the run in dir, or that this can't be told.
func Lives(dir string) bool {
	held, err := lockHeld(dir)
	return held || err != nil
}

func attach(dir string) (*Task, error) {
	for deadline, pause := time.Now().Add(attachPatience), time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		t, err := look(dir)
		if t != nil || err != nil {
			return t, err
		}
		if time.Now().After(deadline) {
			return nil, errors.New("its lock is held, but not by a shim that can be found")
		}
		time.Sleep(pause)
	}
}

// look returns neither a task nor an error while a shim comes up or goes down.
func look(dir string) (*Task, error) {
	held, err := lockHeld(dir)
	if err != nil {
		return nil, err
	}
	// Read after the lock was looked at: a shim that is gone has written all it
	// ever will.
	h, err := record.ReadHandle(dir)
	if err != nil {
		return nil, err
	}
	exit, err := readExit(dir, h)
	if err != nil {
		return nil, err
	}
	switch {
	case exit != nil:
		return endedTask(dir, h, *exit), nil
	case h == nil && !held:
		return nil, ErrNoRun
	case h == nil:
		return nil, nil
	}
	pidfd, err := openShim(h)
	switch {
	case err == nil:
		return newTask(dir, h, pidfd, nil), nil
	case !errors.Is(err, unix.ESRCH):
		return nil, fmt.Errorf("cannot look at the shim: %w", err)
	case held:
		return nil, nil
	}
	return newTask(dir, h, -1, nil), nil
}

// readExit reads the exit record. One that a power cut damaged, which is all that can, is
// none.
func readExit(dir string, h *Handle) (*Exit, error) {
	exit, err := record.ReadExit(dir)
	if err == nil || h == nil {
		return exit, err
	}
	if boot, berr := contain.BootID(); berr != nil || boot == h.BootID {
		return nil, err
	}
	return nil, nil
}

// lockHeld asks by a shared lock, so that two who ask don't take each other for
// a shim.
func lockHeld(dir string) (bool, error) {
	path := filepath.Join(dir, record.LockFile)
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	l, err := fsx.TryLockShared(path)
	if errors.Is(err, fsx.ErrLocked) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, l.Close()
}
