package fsx

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLocked means that another process holds the lock.
var ErrLocked = errors.New("held by another process")

// Lock is an flock(2) on a file. It belongs to the open file description: a
// process that inherits File keeps the lock after this process is gone, and the
// kernel frees it when the last holder dies.
type Lock struct{ f *os.File }

// TryLock takes the exclusive lock of path, which it creates, or fails at once
// with ErrLocked.
func TryLock(path string) (*Lock, error) { return try(path, unix.LOCK_EX) }

// TryLockShared takes a shared lock of path, which it creates, or fails at once
// with ErrLocked.
func TryLockShared(path string) (*Lock, error) { return try(path, unix.LOCK_SH) }

// WaitLock takes the exclusive lock of path, waiting for it until ctx ends.
func WaitLock(ctx context.Context, path string) (*Lock, error) { return wait(ctx, path, unix.LOCK_EX) }

// WaitLockShared takes a shared lock of path, waiting for it until ctx ends.
func WaitLockShared(ctx context.Context, path string) (*Lock, error) {
	return wait(ctx, path, unix.LOCK_SH)
}

// File is the descriptor that holds the lock, for handing it to a child.
func (l *Lock) File() *os.File { return l.f }

// Close drops this holder of the lock. The file stays: removing it would let two
// processes lock two different files of one name.
func (l *Lock) Close() error { return l.f.Close() }

// Passing takes, by take, the lock of a file that comes with its holder and goes
// with it (Remove). What was locked may have lost its name while it was waited
// for: then it locks nothing, and the lock is taken again.
func Passing(path string, take func(path string) (*Lock, error)) (*Lock, error) {
	for {
		l, err := take(path)
		if err != nil {
			return nil, err
		}
		if named(l.f, path) {
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

// Remove removes the file of an exclusive lock that was taken by Passing, and
// gives the lock up.
func (l *Lock) Remove() error {
	err := os.Remove(l.f.Name())
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, l.Close())
}

// Unlock gives the lock up for every process that inherited it as well.
func (l *Lock) Unlock() error { return errors.Join(flock(l.f, unix.LOCK_UN), l.Close()) }

// Downgrade turns an exclusive lock into a shared one. flock drops the lock in
// between, so the caller must look again at what the lock protects.
func (l *Lock) Downgrade() error { return flock(l.f, unix.LOCK_SH) }

func try(path string, how int) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock %s: %w", path, err)
	}
	if err := flock(f, how|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, fmt.Errorf("cannot lock %s: %w", path, err)
	}
	return &Lock{f}, nil
}

// wait polls: a blocking flock can't be ended by a context without a signal.
func wait(ctx context.Context, path string, how int) (*Lock, error) {
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		l, err := try(path, how)
		if !errors.Is(err, ErrLocked) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("cannot lock %s: %w", path, context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}

func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
