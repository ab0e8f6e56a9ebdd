package envcache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"agentctl/internal/crash"
	"agentctl/internal/fsx"
)

const (
	// usersFile is locked, shared, by each who has the cache open.
	usersFile = ".open"
	// bootFile says during which uptime of the machine the cache is in use, or
	// that the last user closed it.
	bootFile = ".boot"
	closed   = "closed"
)

// bootID is a file with another text after each start of the machine.
const bootID = "/proc/sys/kernel/random/boot_id"

// openPatience bounds the wait for another one who is just opening or closing the cache.
const openPatience = time.Minute

// enter joins the users of the cache. If the machine went down while there were
// some, what they wrote may have been lost in part, whatever the file system says of
// names and sizes: then every environment is in doubt.
func (c *Cache) enter() error {
	ctx, cancel := context.WithTimeout(context.Background(), openPatience)
	defer cancel()
	path := filepath.Join(c.shelf.Dir(), usersFile)
	for {
		l, err := fsx.TryLock(path)
		switch {
		case err == nil:
			err = errors.Join(c.begin(), l.Downgrade())
		case errors.Is(err, fsx.ErrLocked): // there are users: the first of them looked
			l, err = fsx.WaitLockShared(ctx, path)
		}
		if err != nil {
			if l != nil {
				_ = l.Unlock()
			}
			return fmt.Errorf("cannot open the cache: %w", err)
		}
		if c.mark() != closed {
			c.users = l
			return nil
		}
		_ = l.Unlock() // the last user left between two of these steps
	}
}

func (c *Cache) mark() string {
	data, err := os.ReadFile(filepath.Join(c.shelf.Dir(), bootFile))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}

// setMark writes the mark, under the guard: without it another one who opens the
// cache would take the half-written file for one of a dead process.
func (c *Cache) setMark(text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), openPatience)
	defer cancel()
	l, err := c.shelf.Guard(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = l.Unlock() }()
	return fsx.WriteFile(filepath.Join(c.shelf.Dir(), bootFile), []byte(text+"\n"), 0o600)
}

// begin is what the first user does.
func (c *Cache) begin() error {
	id, err := os.ReadFile(bootID)
	now := strings.TrimSpace(string(id))
	before := c.mark()
	if before != closed && (before != now || err != nil || now == "") {
		if err := c.shelf.DoubtAll(); err != nil {
			return err
		}
	}
	crash.Point("env.begun")
	if before == now {
		return nil
	}
	file := filepath.Join(c.shelf.Dir(), bootFile)
	if c.setMark(now) == nil {
		return nil
	}
	// A full disk. Without the file the next start of the machine is an unclean one.
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fsx.SyncDir(c.shelf.Dir())
}

// Close says that this user of the cache is done with it: no Acquire goes on, and
// what is leased stays leased. The last one marks the cache as closed, so that the
// machine may go down without a doubt.
func (c *Cache) Close() error {
	if c.users == nil {
		return nil
	}
	// A child that is being started has a copy of the descriptor for a moment.
	if err := c.users.Unlock(); err != nil {
		return err
	}
	c.users = nil
	l, err := fsx.TryLock(filepath.Join(c.shelf.Dir(), usersFile))
	if errors.Is(err, fsx.ErrLocked) {
		return nil // there are others
	}
	if err != nil {
		return err
	}
	crash.Point("env.closing")
	// What was built, by whomever, may be in memory only.
	err = c.shelf.Flush()
	if err == nil {
		err = c.setMark(closed)
	}
	return errors.Join(err, l.Unlock())
}
