package main

import (
	"context"
	"errors"
	"fmt"

	"agentctl/envcache"

	"github.com/spf13/cobra"
)

func (a *app) cacheVerify() *cobra.Command {
	fix := false
	cmd := &cobra.Command{
		Use: "verify [KEY…]", Short: "Compare every file of environments with what was built",
		Long: `Read every file of the named environments, or of all, and compare it with the
digest that was taken when the environment was built. Ends with 1 if something was
changed, and names the files. With --fix a changed environment is thrown away: no
task gets it any more, its files go as soon as nobody uses it, and the next
request builds a new one.`,
		Example: "  agentctl cache verify\n  agentctl cache verify --fix 5d41402a",
		RunE:    func(cmd *cobra.Command, args []string) error { return a.verifyCache(cmd.Context(), args, fix) },
	}
	cmd.Flags().BoolVar(&fix, "fix", false, "throw changed environments away")
	return a.completeKeys(cmd)
}

func (a *app) verifyCache(ctx context.Context, keys []string, fix bool) error {
	return a.withCache(ctx, func(c *envcache.Cache, _ string) error {
		entries, err := findEntries(c, keys)
		if len(keys) == 0 {
			entries, err = c.Entries()
		}
		if err != nil {
			return err
		}
		bad := 0
		for _, e := range entries {
			changed, err := a.verifyOne(ctx, c, e, fix)
			if err != nil {
				return err
			}
			if changed {
				bad++
			}
		}
		if bad > 0 {
			return &exitError{exitFailed, fmt.Errorf("%s changed since it was built", plural(bad, "environment"))}
		}
		return nil
	})
}

// verifyOne prints what of an environment was changed.
func (a *app) verifyOne(ctx context.Context, c *envcache.Cache, e envcache.Entry, fix bool) (bool, error) {
	if e.Dirty {
		a.say("%s was found changed before and is in use", e.Key)
		return true, nil
	}
	err := c.VerifyKey(ctx, e.Key)
	var changed *envcache.Changed
	switch {
	case err == nil:
		fmt.Fprintln(a.Stdout, e.Key, "ok")
		return false, nil
	case !errors.As(err, &changed):
		return false, err
	}
	for _, path := range changed.Paths {
		fmt.Fprintln(a.Stdout, e.Key, printable(path))
	}
	if changed.More > 0 {
		fmt.Fprintf(a.Stdout, "%s and %d more\n", e.Key, changed.More)
	}
	if fix {
		err := c.Discard(ctx, e.Key)
		if err == nil {
			a.say("%s is thrown away", e.Key)
		}
		return true, err
	}
	return true, nil
}
