package envcache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"agentctl/internal/crash"
	"agentctl/internal/fsx"
	"agentctl/internal/shelf"
)

const examinePrefix = ".examine-"

// Rechecked tells what a pass over the environments in doubt did.
type Rechecked struct {
	Whole   int
	Removed []string // keys
}

// Recheck examines the environments that are in doubt since the machine went down
// while somebody used them, the last used first, in the background. Who asks for one
// in doubt does not wait for its turn: it is examined for him at once.
func (c *Cache) Recheck(ctx context.Context) (Rechecked, error) {
	ctx = Background(ctx)
	var done Rechecked
	keys, err := c.shelf.Doubtful()
	if err != nil {
		return done, fmt.Errorf("cannot check environments: %w", err)
	}
	for _, key := range keys {
		switch err := c.examine(ctx, key, func(string) {}); {
		case errors.Is(err, errAgain):
			done.Removed = append(done.Removed, key)
		case err != nil:
			return done, fmt.Errorf("cannot check environments: %w", err)
		default:
			done.Whole++
		}
	}
	return done, nil
}

// examine reads every file of an environment in doubt, once for all who ask. It is
// then beyond doubt, or thrown away, which errAgain tells.
func (c *Cache) examine(ctx context.Context, key string, tell func(string)) error {
	defer c.board.Enter(ctx, examinePrefix+key)() // who waits for it hurries it up
	l, err := fsx.Passing(filepath.Join(c.shelf.Dir(), examinePrefix+key), func(path string) (*fsx.Lock, error) {
		return fsx.WaitLock(ctx, path)
	})
	if err != nil {
		return fmt.Errorf("cannot check an environment: %w", err)
	}
	defer func() { _ = l.Remove() }()
	held, err := c.shelf.Examine(key)
	if errors.Is(err, shelf.ErrGone) {
		return nil // another one was here before
	}
	if err != nil {
		return fmt.Errorf("cannot check an environment: %w", err)
	}
	defer func() { _ = held.Unlock() }()
	crash.Point("env.examined")
	tell(fmt.Sprintf("the machine went down while environments were in use: checking the files of this one, %d MB", held.Bytes/1e6))
	err = c.VerifyFully(ctx, &Lease{Path: held.Path, Key: key, held: held})
	var changed *Changed
	if errors.As(err, &changed) {
		tell(changed.Error() + ": it is thrown away")
		c.opts.Log.Warn("environment thrown away after an unclean start", "env", key, "error", err)
		_ = held.Unlock()
		return cmp.Or(c.Discard(ctx, key), errAgain)
	}
	if err != nil {
		return err
	}
	return c.shelf.Trust(held)
}
