package main

import (
	"context"
	"errors"
	"fmt"

	"agentctl/envcache"

	"github.com/spf13/cobra"
)

func (a *app) cacheRm() *cobra.Command {
	return a.completeKeys(&cobra.Command{
		Use: "rm KEY…", Short: "Remove environments that nobody uses",
		Long: `Remove environments. One that is in use stays, and the verb ends with 1: it says by
which tasks, where their records tell.`,
		Example: "  agentctl cache rm 5d41402a\n  agentctl cache ls -o name | xargs agentctl cache rm",
		Args:    cobra.MinimumNArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.removeEnvironments(cmd.Context(), args) },
	})
}

func (a *app) removeEnvironments(ctx context.Context, keys []string) error {
	return a.withCache(ctx, func(c *envcache.Cache, state string) error {
		entries, failed := findEntries(c, keys)
		if failed != nil {
			return failed // a wrong key: nothing is removed
		}
		for _, e := range entries {
			err := c.Remove(ctx, e.Key)
			if errors.Is(err, envcache.ErrInUse) {
				users, uerr := usersOf(state, e.Key)
				if users != nil {
					err = fmt.Errorf("%w %s", err, byTasks(users))
				}
				err = errors.Join(err, uerr)
			}
			if err == nil {
				fmt.Fprintln(a.Stdout, e.Key)
			}
			failed = errors.Join(failed, err)
		}
		return failed
	})
}
